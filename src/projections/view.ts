/**
 * How values stand in a database that cannot hold all of them: text without U+0000, and JSON. A view: the envelope's
 * bytes beside it are what counts. Pure. Source: docs/spec/projections.md §3.
 */
import { jsonView, type CborValue } from "@sigil/core/cbor";

/** What stands for U+0000, which neither `text` nor `jsonb` of PostgreSQL can hold: SYMBOL FOR NULL. */
const nul = "\u2400";

const holdsNul = (text: string): boolean => text.includes("\0");

export const viewText = (text: string): string => (holdsNul(text) ? text.replaceAll("\0", nul) : text);

/** Of two keys that look the same afterwards the later one counts. */
const withoutNul = (value: unknown): unknown => {
  if (typeof value === "string") return viewText(value);
  if (Array.isArray(value)) return value.map(withoutNul);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [viewText(key), withoutNul(entry)]));
};

/** JSON text of a canonical value: bytes as base64, integers beyond 2^53 as decimal text, U+0000 replaced. */
export const viewJson = (value: CborValue): string => {
  const json = JSON.stringify(jsonView(value));
  // Written so where a text holds it, and also where one holds a backslash before "u0000": then nothing changes.
  return json.includes("\\u0000") ? JSON.stringify(withoutNul(JSON.parse(json))) : json;
};

/** Whether the view of a value is another than the value's own: some text of it holds U+0000. */
export const isReplaced = (value: CborValue): boolean => {
  if (typeof value === "string") return holdsNul(value);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some(isReplaced);
  return Object.entries(value).some(([key, entry]) => holdsNul(key) || isReplaced(entry));
};
