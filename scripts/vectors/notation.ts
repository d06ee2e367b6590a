/**
 * CBOR values written as JSON, for vector files that any language can read. JSON numbers are safe integers or floats;
 * `{"$int": "…"}` is another integer, `{"$bytes": "hex"}` a byte string, `{"$map": [[key, value]…]}` a map.
 */
import { fromHex, toHex } from "@sigil/core/bytes";
import type { CborMap, CborValue } from "@sigil/core/cbor";

export type Notation =
  | null
  | boolean
  | number
  | string
  | readonly Notation[]
  | { readonly $int: string }
  | { readonly $bytes: string }
  | { readonly $map: readonly (readonly [string, Notation])[] };

export const toNotation = (value: CborValue): Notation => {
  if (typeof value === "bigint") return { $int: value.toString() };
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Uint8Array) return { $bytes: toHex(value) };
  if (Array.isArray(value)) return (value as readonly CborValue[]).map(toNotation);
  return { $map: Object.entries(value as CborMap).map(([key, inner]) => [key, toNotation(inner)] as const) };
};

export const fromNotation = (notation: Notation): CborValue => {
  if (notation === null || typeof notation !== "object") return notation;
  if (Array.isArray(notation)) return (notation as readonly Notation[]).map(fromNotation);
  if ("$int" in notation) return BigInt(notation.$int);
  if ("$bytes" in notation) return fromHex(notation.$bytes);
  if (!("$map" in notation)) throw new Error("unknown notation");
  const map = Object.create(null) as Record<string, CborValue>;
  for (const [key, inner] of notation.$map) map[key] = fromNotation(inner);
  return map;
};
