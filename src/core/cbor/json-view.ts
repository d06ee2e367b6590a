/** A canonical value as plain JSON: byte strings as base64 text, integers beyond 2^53 as decimal text. Pure. */
import { toBase64 } from "../bytes.ts";
import type { CborValue } from "./cbor.ts";

/** Strings, finite numbers, booleans, null, arrays and plain objects; "__proto__" is a key like any other. */
export const jsonView = (value: CborValue): unknown => {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return toBase64(value);
  if (Array.isArray(value)) return value.map(jsonView);
  // Defines each key where an assignment to "__proto__" would set the prototype.
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, jsonView(entry)]));
};
