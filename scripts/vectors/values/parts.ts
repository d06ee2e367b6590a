/** Numbers, texts and keys at the boundaries of canonical CBOR, and values made of them by a seed. */
import { toHex } from "@sigil/core/bytes";
import type { Seeded } from "../seeded.ts";
import { integer, type Typed } from "./typed.ts";

type Named = readonly [name: string, value: Typed];

/** Where a head grows by a byte or more, and where JavaScript's, C's and JSON's numbers end. */
const powers = [8, 16, 31, 32, 53, 62, 63, 64];
export const integers: readonly bigint[] = [
  0n,
  1n,
  10n,
  22n,
  23n,
  24n,
  25n,
  100n,
  1000n,
  1_000_000n,
  ...powers.flatMap((power) => [2n ** BigInt(power) - 1n, 2n ** BigInt(power), 2n ** BigInt(power) + 1n]),
]
  .flatMap((positive) => [positive, -positive, -1n - positive])
  .filter((value, index, all) => all.indexOf(value) === index && value >= -(2n ** 63n) && value < 2n ** 64n);

/** Bits of IEEE 754, and what they are. */
export const floats: readonly Named[] = [
  ["+0 as a half, an integer", { f16: "0000" }],
  ["-0 as a half, the integer 0", { f16: "8000" }],
  ["smallest subnormal half", { f16: "0001" }],
  ["negative subnormal half", { f16: "8155" }],
  ["largest subnormal half", { f16: "03ff" }],
  ["smallest normal half", { f16: "0400" }],
  ["1.0 as a half, an integer", { f16: "3c00" }],
  ["-1.0 as a half, an integer", { f16: "bc00" }],
  ["next after 1 as a half", { f16: "3c01" }],
  ["1.5 as a half", { f16: "3e00" }],
  ["a third, nearly, as a half", { f16: "3555" }],
  ["largest half, the integer 65504", { f16: "7bff" }],
  ["largest half that is not integral", { f16: "67ff" }],
  ["-0 as a single", { f32: "80000000" }],
  ["smallest subnormal single", { f32: "00000001" }],
  ["largest subnormal single", { f32: "007fffff" }],
  ["smallest normal single", { f32: "00800000" }],
  ["largest single", { f32: "7f7fffff" }],
  ["2^-24 as a single, a half", { f32: "33800000" }],
  ["3·2^-25 as a single, between two halves", { f32: "33c00000" }],
  ["2^-25 as a single, below the halves", { f32: "33000000" }],
  ["1.5 as a single, a half", { f32: "3fc00000" }],
  ["1 + 2^-10 as a single, a half", { f32: "3f802000" }],
  ["1 + 2^-11 as a single, no half", { f32: "3f801000" }],
  ["65504 as a single, an integer", { f32: "477fe000" }],
  ["65519.5 as a single, beyond the halves", { f32: "477fef80" }],
  ["100000.0 as a single, an integer", { f32: "47c35000" }],
  ["100000.5 as a single", { f32: "47c35040" }],
  ["2^53 as a single, a float", { f32: "5a000000" }],
  ["-2^53 as a single, a float", { f32: "da000000" }],
  ["2^53 - 2^29, the largest safe single, an integer", { f32: "59ffffff" }],
  ["0.1 as a single", { f32: "3dcccccd" }],
  ["+0 as a double", { f64: "0000000000000000" }],
  ["-0 as a double, the integer 0", { f64: "8000000000000000" }],
  ["smallest double", { f64: "0000000000000001" }],
  ["largest subnormal double", { f64: "000fffffffffffff" }],
  ["smallest normal double", { f64: "0010000000000000" }],
  ["largest double", { f64: "7fefffffffffffff" }],
  ["smallest negative double", { f64: "ffefffffffffffff" }],
  ["0.1", { f64: "3fb999999999999a" }],
  ["0.2 + 0.1", { f64: "3fd3333333333334" }],
  ["1.0 as a double, an integer", { f64: "3ff0000000000000" }],
  ["-1.0 as a double, an integer", { f64: "bff0000000000000" }],
  ["24.0 as a double, an integer of one byte", { f64: "4038000000000000" }],
  ["2^32 as a double, an integer", { f64: "41f0000000000000" }],
  ["2^53 - 1 as a double, an integer", { f64: "433fffffffffffff" }],
  ["-(2^53 - 1) as a double, an integer", { f64: "c33fffffffffffff" }],
  ["2^53 as a double, a single", { f64: "4340000000000000" }],
  ["-2^53 as a double, a single", { f64: "c340000000000000" }],
  ["2^53 + 2 as a double", { f64: "4340000000000001" }],
  ["2^63 as a double, a single", { f64: "43e0000000000000" }],
  ["-2^63 as a double, a single", { f64: "c3e0000000000000" }],
  ["2^64 as a double, a single", { f64: "43f0000000000000" }],
  ["2^52 as a double, an integer", { f64: "4330000000000000" }],
  ["2^51 + 0.5", { f64: "4320000000000001" }],
  ["2^-14 as a double, a half", { f64: "3f10000000000000" }],
  ["2^-24 as a double, a half", { f64: "3e70000000000000" }],
  ["3·2^-24 as a double, a half", { f64: "3e88000000000000" }],
  ["1023·2^-24 as a double, a half", { f64: "3f0ff80000000000" }],
  ["1023.5·2^-24 as a double, a single", { f64: "3f0ffc0000000000" }],
  ["2^-25 as a double, a single", { f64: "3e60000000000000" }],
  ["2^-126 as a double, a single", { f64: "3810000000000000" }],
  ["2^-127 as a double, a subnormal single", { f64: "3800000000000000" }],
  ["2^-149 as a double, the smallest single", { f64: "36a0000000000000" }],
  ["3·2^-150 as a double, between two singles", { f64: "36a8000000000000" }],
  ["2^-150 as a double, below the singles", { f64: "3690000000000000" }],
  ["1 + 2^-10 as a double, a half", { f64: "3ff0040000000000" }],
  ["1 + 2^-11 as a double, a single", { f64: "3ff0020000000000" }],
  ["1 + 2^-23 as a double, a single", { f64: "3ff0000020000000" }],
  ["1 + 2^-24 as a double, no single", { f64: "3ff0000010000000" }],
  ["largest single as a double", { f64: "47efffffe0000000" }],
  ["next double after the largest single", { f64: "47efffffe0000001" }],
  ["2^128 as a double, beyond the singles", { f64: "47f0000000000000" }],
  ["-1e300", { f64: "fe37e43c8800759c" }],
];

export const texts: readonly (readonly [name: string, text: string])[] = [
  ["empty text", ""],
  ["text with NUL", "a\0b"],
  ["text of control characters", "\u0001\t\n\r\u001f\u007f"],
  ["text with quotes and backslashes", '"\\/\b\f'],
  ["text that begins with a byte order mark", "\ufeffbom"],
  ["text not normalised", "e\u0301 \u00e9 \u212b \u00c5 \ufb01"],
  ["text of two-byte characters", "\u0080\u07ffgrößer"],
  ["text of three-byte characters", "\u0800\ud7ff\ue000\uffff語"],
  ["surrogate pairs", "\u{10000}\u{1f600}\u{10ffff}"],
  ["surrogate pair between ASCII", "a\u{1f469}\u200d\u{1f680}z"],
  ["noncharacters", "\ufffe\ufdd0\u{1fffe}"],
  ["right to left", "\u202eשלום\u202c"],
];

/** Many of one length, so that only their bytes tell their order. */
export const keyPool: readonly string[] = [
  ..."abcz08AZ_~ ",
  "\0",
  "\u007f",
  "aa",
  "ab",
  "zz",
  "~~",
  "é",
  "ÿ",
  "\u0080",
  "\u07ff",
  "10",
  "9",
  "-1",
  "aaa",
  "zzz",
  "éa",
  "aé",
  "\u0800",
  "\uffff",
  "\ufeff",
  "\ue000",
  "語",
  "aaaa",
  "éé",
  "\uffffa",
  "a\uffff",
  "\u{10000}",
  "\u{1f600}",
  "\u{10ffff}",
  "e\u0301b",
  "\u00e9bc",
  "",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "null",
  "true",
  "1.0",
  "Infinity",
  "k".repeat(23),
  "j".repeat(23),
  "a".repeat(24),
  "é".repeat(12),
  "\u{1f600}".repeat(6),
  "y".repeat(255),
  "b".repeat(256),
  "語".repeat(86),
];

const leaf = (seed: Seeded): Typed => {
  switch (seed.below(8)) {
    case 0:
      return seed.pick([null, true, false]);
    case 1:
    case 2:
      return integer(seed.pick(integers));
    case 3:
      return seed.pick(floats)[1];
    case 4:
      return { f64: toHex(Uint8Array.of(seed.pick([0x3f, 0xbf, 0x40, 0x43, 0x38]), ...seed.bytes(7))) };
    case 5:
      return { bytes: toHex(seed.bytes(seed.pick([0, 1, 16, 23, 24, 32, 60]))) };
    default:
      return { text: seed.once(3) ? seed.pick(keyPool) : seed.pick(texts)[1] };
  }
};

/** Any value of the profile. @param depth containers that it may be nested in itself. */
export const anyValue = (seed: Seeded, depth: number): Typed => {
  if (depth === 0 || seed.once(3)) return leaf(seed);
  const length = seed.pick([0, 1, 2, 3, 4, 6]);
  const inner = (): Typed => anyValue(seed, depth - 1);
  if (seed.once(2)) return { array: seed.list(length, inner) };
  return { map: anyKeys(seed, length).map((key) => [key, inner()] as const) };
};

/** Distinct keys in an order of the seed. */
export const anyKeys = (seed: Seeded, length: number): readonly string[] =>
  seed.shuffled(keyPool).slice(0, length);

/** Containers one in another around a value, of kinds by the seed. */
export const nested = (seed: Seeded, depth: number, inner: Typed): Typed => {
  if (depth === 0) return inner;
  const next = nested(seed, depth - 1, inner);
  return seed.once(2) ? { array: [next] } : { map: [[seed.pick(keyPool), next]] };
};
