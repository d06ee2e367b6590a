/** A canonical value as JSON text for display: byte strings as base64, integers beyond 2^53 as decimal strings. */
import { type CborValue, jsonView } from "@sigil/core/cbor";

export const jsonOf = (value: CborValue): string => JSON.stringify(jsonView(value));
