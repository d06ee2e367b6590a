/**
 * Decodes google.protobuf.Struct to a canonical value. Generated decoders build plain objects, which silently lose an
 * entry "__proto__" and a value without a kind; here they are kept or refused. Source: google/protobuf/struct.proto. At
 * most `cborDepthMax` deep, `cborEntriesMax` entries a container.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  CanonServiceService,
  type BatchWriteRecordsRequest,
  type WriteRecordRequest,
} from "@sigil/proto/sigil/canon/v1/canon";
import { atPointer, formatPointer } from "../../canon/schemas/json-pointer.ts";
import { jsonRules } from "../../canon/records/payload.ts";
import { utf8Decode } from "@sigil/core/bytes";
import type { CborMap, CborValue } from "@sigil/core/cbor";
import { invalidField } from "../../errors.ts";
import { cborDepthMax, cborEntriesMax } from "@sigil/core/limits";

/** Path of a value, for errors. */
type Place = { readonly field: string; readonly path: readonly (string | number)[] };

const inside = ({ field, path }: Place, step: string | number): Place => ({ field, path: [...path, step] });

const refuse = ({ field, path }: Place, rule: string): never =>
  invalidField(field, `${atPointer(formatPointer(path))} ${rule}`);

/** A protobuf tag: field number and wire type. */
const tagOf = (field: number, wireType: 0 | 1 | 2): number => (field << 3) | wireType;

const entryTag = tagOf(1, 2);
const keyTag = tagOf(1, 2);
const valueTag = tagOf(2, 2);

/** Messages of a repeated field, in order. */
const messagesOf = (bytes: Uint8Array, tag: number): readonly Uint8Array[] => {
  const reader = new BinaryReader(bytes);
  const messages: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const found = reader.uint32();
    if (found === tag) messages.push(reader.bytes());
    else reader.skip(found & 7);
  }
  return messages;
};

const itemsOf = (bytes: Uint8Array, place: Place): readonly Uint8Array[] => {
  if (place.path.length >= cborDepthMax) refuse(place, jsonRules.tooDeep);
  const items = messagesOf(bytes, entryTag);
  return items.length <= cborEntriesMax ? items : refuse(place, jsonRules.tooMany);
};

const readNumber = (number: number, place: Place): number =>
  // NaN fails the comparison; minus zero becomes 0.
  Math.abs(number) <= Number.MAX_SAFE_INTEGER ? number + 0 : refuse(place, jsonRules.number);

const readValue = (bytes: Uint8Array, place: Place): CborValue => {
  const reader = new BinaryReader(bytes, utf8Decode);
  const values: CborValue[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case tagOf(1, 0):
        reader.int32();
        values.push(null);
        break;
      case tagOf(2, 1):
        values.push(readNumber(reader.double(), place));
        break;
      case tagOf(3, 2):
        values.push(reader.string());
        break;
      case tagOf(4, 0):
        values.push(reader.bool());
        break;
      case tagOf(5, 2):
        values.push(readMap(reader.bytes(), place));
        break;
      case tagOf(6, 2):
        values.push(
          itemsOf(reader.bytes(), place).map((item, index) => readValue(item, inside(place, index))),
        );
        break;
      default:
        reader.skip(tag & 7);
    }
  }
  const [value, ...others] = values;
  return value === undefined || others.length > 0 ? refuse(place, "must be one value of one kind") : value;
};

const readMap = (bytes: Uint8Array, place: Place): CborMap => {
  const map = Object.create(null) as Record<string, CborValue>;
  for (const entry of itemsOf(bytes, place)) {
    const key = utf8Decode(messagesOf(entry, keyTag).at(-1) ?? new Uint8Array(0));
    const here = inside(place, key);
    if (Object.hasOwn(map, key)) refuse(here, jsonRules.keyTwice);
    map[key] = readValue(messagesOf(entry, valueTag).at(-1) ?? new Uint8Array(0), here);
  }
  return map;
};

/** @throws invalidField with `field` and a rule that holds the JSON pointer. */
const readStruct = (bytes: Uint8Array, field: string): CborMap => readMap(bytes, { field, path: [] });

const payloadTag = tagOf(6, 2);
const writesTag = tagOf(1, 2);

const exactWrite = (request: WriteRecordRequest, bytes: Uint8Array, path: string): WriteRecordRequest => {
  if (request.content?.$case !== "payload") return request;
  const field = `${path}payload`;
  const [struct, ...others] = messagesOf(bytes, payloadTag);
  if (struct === undefined || others.length > 0) {
    return invalidField(field, "must be given once");
  }
  return { ...request, content: { $case: "payload", value: readStruct(struct, field) } };
};

/** Replaces the Structs of a decoded request by exact ones. @param path of the RPC. @throws invalidField. */
export const withExactStructs = (path: string, request: unknown, bytes: Uint8Array): unknown => {
  switch (path) {
    case CanonServiceService.writeRecord.path:
      return exactWrite(request as WriteRecordRequest, bytes, "");
    case CanonServiceService.batchWriteRecords.path: {
      const batch = request as BatchWriteRecordsRequest;
      const parts = messagesOf(bytes, writesTag);
      const writes = batch.writes.map((write, index) =>
        exactWrite(write, parts[index] ?? new Uint8Array(0), `writes[${index}].`),
      );
      return { ...batch, writes };
    }
    default:
      return request;
  }
};
