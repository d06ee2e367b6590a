/** Checks payloads given as objects: they are sent as google.protobuf.Struct, which would silently drop some values. */
import type {
  BatchWriteRecordsRequest,
  DeepPartial,
  WriteRecordRequest,
} from "@sigil/proto/sigil/canon/v1/canon";

const refuse = (path: string, what: string): never => {
  throw new TypeError(`${path} ${what}; send such a payload as payloadJson or payloadCbor`);
};

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
};

const checkValue = (value: unknown, path: string): void => {
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string")
    return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkValue(item, `${path}[${index}]`);
  } else if (typeof value === "object" && isPlain(value)) {
    if (Object.hasOwn(value, "__proto__")) refuse(path, 'has a key "__proto__"');
    for (const [key, entry] of Object.entries(value)) {
      // As in JSON, undefined entries are omitted.
      if (entry !== undefined) checkValue(entry, `${path}.${key}`);
    }
  } else {
    refuse(path, "is no JSON value");
  }
};

/** @throws TypeError naming the value. */
export const checkWrite = ({ content }: DeepPartial<WriteRecordRequest>, path = ""): void => {
  if (content?.$case === "payload") checkValue(content.value, `${path}payload`);
};

/** @throws TypeError naming the value. */
export const checkWrites = ({ writes }: DeepPartial<BatchWriteRecordsRequest>): void => {
  for (const [index, write] of (writes ?? []).entries()) checkWrite(write, `writes[${index}].`);
};
