/** Exports of canonical CBOR. Pure. */
export {
  type CborMap,
  type CborValue,
  type HeaderMap,
  type HeaderValue,
  cborDecode,
  cborEncode,
  cborEncodeHeader,
} from "./cbor.ts";
export { cborRules } from "./decode.ts";
export { encodeWith } from "./encode.ts";
export {
  majorArray,
  majorBytes,
  majorMap,
  majorSimple,
  majorTag,
  majorText,
  shortestHeadBytes,
} from "./major.ts";
export { jsonView } from "./json-view.ts";
