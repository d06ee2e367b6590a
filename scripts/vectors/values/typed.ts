/**
 * Values written as typed JSON, without their encoding: what a program in another language builds by hand and gives to
 * its own encoder. Source: test/vectors/README.md.
 */
import { fromHex, toHex } from "@sigil/core/bytes";
import type { CborMap, CborValue } from "@sigil/core/cbor";
import type { Seeded } from "../seeded.ts";

export type Typed =
  | null
  | boolean
  | { readonly i64: string }
  | { readonly u64: string }
  | { readonly f16: string }
  | { readonly f32: string }
  | { readonly f64: string }
  | { readonly bytes: string; readonly times?: number }
  | { readonly text: string; readonly times?: number }
  | { readonly array: readonly Typed[]; readonly times?: number }
  | { readonly map: readonly (readonly [key: string, value: Typed])[] };

/** The value of IEEE 754 bits, 2, 4 or 8 bytes. Halves are written out: no DataView reads them on Node 20. */
const floatOf = (hex: string): number => {
  const view = new DataView(fromHex(hex).slice().buffer);
  if (view.byteLength === 8) return view.getFloat64(0);
  if (view.byteLength === 4) return view.getFloat32(0);
  const bits = view.getUint16(0);
  const sign = bits >= 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
};

const repeatedBytes = (unit: Uint8Array, times: number): Uint8Array => {
  const bytes = new Uint8Array(unit.length * times);
  for (let time = 0; time < times; time += 1) bytes.set(unit, time * unit.length);
  return bytes;
};

export const valueOfTyped = (typed: Typed): CborValue => {
  if (typed === null || typeof typed === "boolean") return typed;
  if ("i64" in typed) return BigInt(typed.i64);
  if ("u64" in typed) return BigInt(typed.u64);
  if ("f16" in typed) return floatOf(typed.f16);
  if ("f32" in typed) return floatOf(typed.f32);
  if ("f64" in typed) return floatOf(typed.f64);
  if ("text" in typed) return typed.text.repeat(typed.times ?? 1);
  if ("bytes" in typed) return repeatedBytes(fromHex(typed.bytes), typed.times ?? 1);
  if ("array" in typed) {
    const items = typed.array.map(valueOfTyped);
    return Array.from({ length: typed.times ?? 1 }, () => items).flat(1) as readonly CborValue[];
  }
  const map = Object.create(null) as Record<string, CborValue>;
  for (const [key, inner] of typed.map) map[key] = valueOfTyped(inner);
  return map;
};

const floatHex = (value: number, bits: 32 | 64): string => {
  const view = new DataView(new ArrayBuffer(bits / 8));
  if (bits === 32) view.setFloat32(0, value);
  else view.setFloat64(0, value);
  return toHex(new Uint8Array(view.buffer));
};

const f64 = (value: number): Typed => ({ f64: floatHex(value, 64) });
export const integer = (value: bigint | number): Typed =>
  BigInt(value) < 2n ** 63n ? { i64: String(value) } : { u64: String(value) };

const typedNumber = (value: number, seed: Seeded): Typed => {
  // What is integral is an integer, however it is given: sometimes it is given as a float.
  if (Number.isSafeInteger(value) && !seed.once(8)) return integer(value);
  return Math.fround(value) === value && seed.once(3) ? { f32: floatHex(value, 32) } : f64(value);
};

/** The value as typed JSON, its maps in an order of the seed. */
export const typedOf = (value: CborValue, seed: Seeded): Typed => {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "bigint") return integer(value);
  if (typeof value === "number") return typedNumber(value, seed);
  if (typeof value === "string") return { text: value };
  if (value instanceof Uint8Array) return { bytes: toHex(value) };
  if (Array.isArray(value)) {
    return { array: (value as readonly CborValue[]).map((item) => typedOf(item, seed)) };
  }
  const entries = Object.entries(value as CborMap).map(
    ([key, inner]) => [key, typedOf(inner, seed)] as const,
  );
  return { map: seed.shuffled(entries) };
};
