/**
 * Reads the content of a write or a proposal, in any of its forms, as one canonical value. For the server's own kinds
 * JSON has base64 in place of byte strings (docs/spec/record.md §6); for other kinds text stays text. At most
 * `cborBytesMax`.
 */
import type { ProposeRecordRequest, WriteRecordRequest } from "@sigil/proto/sigil/canon/v1/canon";
import type { Content } from "../../canon/domain.ts";
import { atPointer, formatPointer } from "../../canon/schemas/json-pointer.ts";
import { parseCborPayload, parseJsonPayload } from "../../canon/records/payload.ts";
import { fromBase64, fromBase64Url } from "@sigil/core/bytes";
import type { CborMap, CborValue } from "@sigil/core/cbor";
import { invalidField, SigilFault } from "../../errors.ts";
import { cborBytesMax } from "@sigil/core/limits";
import { readText } from "./fields.ts";

/** Prefix of public keys as printed by `sigil key new`. */
const keyPrefix = "ed25519:";

/** Byte string fields by kind, and whether they are lists. */
const BYTE_FIELDS: ReadonlyMap<string, { readonly name: string; readonly form: "one" | "list" }> = new Map([
  ["principal", { name: "public_keys", form: "list" }],
  ["module", { name: "digest", form: "one" }],
]);

/** Non-text values are passed through; the kind's own check refuses them. */
const fromText = (value: CborValue, field: string, path: readonly (string | number)[]): CborValue => {
  if (typeof value !== "string") return value;
  try {
    return value.startsWith(keyPrefix) ? fromBase64Url(value.slice(keyPrefix.length)) : fromBase64(value);
  } catch (cause) {
    if (!(cause instanceof SigilFault)) throw cause;
    return invalidField(
      field,
      `${atPointer(formatPointer(path))} must be padded standard base64, or ed25519: and base64url`,
    );
  }
};

const withBytes = (payload: CborValue, kind: string, field: string): CborValue => {
  const bytes = BYTE_FIELDS.get(kind);
  if (bytes === undefined || typeof payload !== "object" || payload === null) return payload;
  const { name, form } = bytes;
  const value = Object.hasOwn(payload, name) ? (payload as CborMap)[name] : undefined;
  if (value === undefined) return payload;
  const read =
    form === "list" && Array.isArray(value)
      ? value.map((item: CborValue, index) => fromText(item, field, [name, index]))
      : fromText(value, field, [name]);
  // Without a prototype, like every decoded map.
  return Object.assign(Object.create(null), payload, { [name]: read }) as CborMap;
};

/** @param kind the kind of the payload. @param path prefix of field names. @throws invalidField. */
export const readContent = (
  content: WriteRecordRequest["content"] | ProposeRecordRequest["content"],
  kind: string,
  path = "",
): Content => {
  switch (content?.$case) {
    case "payloadJson": {
      const field = `${path}payload_json`;
      const payload = parseJsonPayload(readText(content.value, field, cborBytesMax), field);
      return { kind: "payload", payload: withBytes(payload, kind, field) };
    }
    case "payloadCbor":
      return { kind: "payload", payload: parseCborPayload(content.value, `${path}payload_cbor`) };
    case "payload":
      // Already decoded from its bytes by struct.ts.
      return { kind: "payload", payload: withBytes(content.value as CborMap, kind, `${path}payload`) };
    case "tombstone":
      return content.value
        ? { kind: "tombstone" }
        : invalidField(`${path}tombstone`, "must be true when it is set");
    case undefined:
      return invalidField(`${path}content`, "must be a payload or a tombstone");
  }
};
