/** A canonical value as JSON text for people: byte strings as base64, integers beyond 2^53 as decimal strings. */
import { toBase64 } from "../record/bytes.ts";
import type { CborValue } from "../record/cbor.ts";

const viewOf = (value: CborValue): unknown => {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return toBase64(value);
  if (Array.isArray(value)) return value.map(viewOf);
  const view: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, entry] of Object.entries(value)) view[key] = viewOf(entry);
  return view;
};

export const jsonOf = (value: CborValue): string => JSON.stringify(viewOf(value));
