/**
 * Canonical CBOR: a profile of RFC 8949 §4.2.1 in which values and encodings correspond one to one. Pure. Source:
 * docs/spec/record.md §1. At most 1 MiB, 16 containers deep, 4,096 entries a container.
 */
import { CborReader } from "./decode.ts";
import { encodeLong, encodeWith } from "./encode.ts";
import type { CborValue, HeaderMap, HeaderValue } from "./value.ts";

export type { CborMap, CborValue, HeaderMap, HeaderValue } from "./value.ts";

/** @throws unencodableValue with a JSON pointer to the part that has no canonical encoding. */
export const cborEncode = (value: CborValue): Uint8Array => encodeWith((writer) => writer.value(value));

/**
 * Accepts exactly what `cborEncode` produces. Byte strings are copies; integers within ±(2^53-1) are numbers, the
 * others bigint. @throws malformedCbor with the offset of the item that breaks the rule.
 */
export const cborDecode = (bytes: Uint8Array): CborValue =>
  new CborReader(bytes, "textKeys").only() as CborValue;

/** `cborEncode` and `cborDecode` for a file, of which each part is a value of its own. The limit is in bytes. */
export const cborEncodeFile = (value: CborValue, bytesMax: number): Uint8Array =>
  encodeLong(bytesMax, (writer) => writer.value(value));

export const cborDecodeFile = (bytes: Uint8Array, bytesMax: number): CborValue =>
  new CborReader(bytes, "textKeys", 0, bytes.length, bytesMax).only() as CborValue;

/** `cborEncode` for a COSE header: all maps are Maps with text or integer keys. @throws unencodableValue. */
export const cborEncodeHeader = (header: HeaderMap): Uint8Array =>
  encodeWith((writer) => writer.headerValue(header));

/** `cborDecode` for a COSE header: every map is a Map. @throws malformedCbor. */
export const cborDecodeHeader = (bytes: Uint8Array): HeaderValue =>
  new CborReader(bytes, "headerKeys").only() as HeaderValue;
