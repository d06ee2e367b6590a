/** Items that break exactly one rule of canonical CBOR, at their first byte. Source: docs/spec/record.md §1. */
import { concatBytes, fromHex, utf8Encode } from "@sigil/core/bytes";
import type { Seeded } from "../seeded.ts";
import { head } from "./layout.ts";

const hex = fromHex;
const hexOf = (seed: Seeded, ...choices: readonly string[]): Uint8Array => hex(seed.pick(choices));
const widths = [1, 2, 4, 8] as const;

/** A string, array or map that claims more than is left: the item is the last of its encoding. */
export const claimed = (seed: Seeded): Uint8Array => {
  const more = seed.pick([
    25n,
    256n,
    65_536n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 63n,
    2n ** 64n - 1n,
  ]);
  const few = seed.pick([1n, 2n, 23n, 24n, 255n, 4096n]);
  if (seed.once(3)) return head(seed.pick([4, 5]), few);
  const argument = seed.once(2) ? more : few;
  const present = utf8Encode("x".repeat(Number(argument > 7n ? 7n : argument - 1n)));
  return concatBytes(head(seed.pick([2, 3]), argument), present);
};

/** With bytes for so many entries, so that nothing but their number is refused. */
export const tooMany = (seed: Seeded): Uint8Array =>
  seed.once(2)
    ? concatBytes(head(4, 4097n), new Uint8Array(4097))
    : concatBytes(head(5, 4097n), new Uint8Array(2 * 4097));

export const reserved = (seed: Seeded): Uint8Array =>
  Uint8Array.of((seed.pick([0, 1, 2, 3, 4, 5, 7]) << 5) | seed.between(28, 30), ...seed.bytes(seed.below(3)));
export const reservedKey = (seed: Seeded): Uint8Array => Uint8Array.of((3 << 5) | seed.between(28, 30));

export const indefinite = (seed: Seeded): Uint8Array =>
  hexOf(
    seed,
    "1f",
    "3f",
    "5fff",
    "5f4101ff",
    "5f41004100ff",
    "7fff",
    "7f6161ff",
    "9fff",
    "9f00ff",
    "9f9fffff",
    "bfff",
    "bf616100ff",
    "ff",
  );
export const indefiniteKey = (seed: Seeded): Uint8Array => hexOf(seed, "7f6161ff", "7fff", "7f61616162ff");

/** A head one size or more too wide, with all that it announces. */
const wide = (seed: Seeded, major: number): Uint8Array => {
  const width = seed.pick(widths);
  const below = { 1: 24, 2: 256, 4: 65_536, 8: 2 ** 32 }[width];
  const isNumber = major < 2;
  const largest = isNumber ? below - 1 : Math.min(below - 1, 300);
  const argument = seed.pick([0, largest, seed.below(largest + 1)]);
  // Any bytes for a byte string, the letter "t" for text, zeros for an array.
  const unit = { 2: 0xa5, 3: 0x74, 4: 0 }[major];
  const content = new Uint8Array(unit === undefined ? 0 : argument).fill(unit ?? 0);
  return concatBytes(head(major, BigInt(argument), width), content);
};

export const notShortest = (seed: Seeded): Uint8Array => {
  const major = seed.below(6);
  if (major < 5) return wide(seed, major);
  const entries = seed.pick([0, 1, 2]);
  const content = hex(["", "616100", "6161006162f6"][entries] ?? "");
  return concatBytes(head(5, BigInt(entries), seed.pick(widths)), content);
};
export const notShortestKey = (seed: Seeded): Uint8Array => wide(seed, 3);

export const belowRange = (seed: Seeded): Uint8Array => {
  const argument = seed.pick([0n, 1n, 2n ** 63n - 1n, 2n ** 62n, BigInt(seed.below(2 ** 32))]);
  return head(1, 2n ** 63n + argument, 8);
};

export const tag = (seed: Seeded): Uint8Array =>
  concatBytes(
    head(6, seed.pick([0n, 1n, 2n, 3n, 4n, 18n, 23n, 24n, 42n, 258n, 55_799n, 65_536n, 2n ** 64n - 1n])),
    hexOf(seed, "00", "6161", "4101", "80", "a0", "f6", "f93e00", "c100"),
  );

export const simple = (seed: Seeded): Uint8Array => {
  const short = seed.pick([0, 1, 16, 19, 23]);
  return seed.once(2)
    ? Uint8Array.of(0xe0 | short)
    : Uint8Array.of(0xf8, seed.pick([0, 20, 21, 22, 23, 24, 31, 32, 33, 128, 255]));
};

export const notFinite = (seed: Seeded): Uint8Array =>
  hexOf(
    seed,
    "f97c00",
    "f9fc00",
    "f97e00",
    "f9fe00",
    "f97c01",
    "f97fff",
    "fa7f800000",
    "faff800000",
    "fa7fc00000",
    "fa7f800001",
    "faffffffff",
    "fb7ff0000000000000",
    "fbfff0000000000000",
    "fb7ff8000000000000",
    "fb7ff0000000000001",
    "fbffffffffffffffff",
    "fb7ff4000000000000",
  );

const double = (value: number): Uint8Array => {
  const bytes = new Uint8Array(9);
  bytes[0] = 0xfb;
  new DataView(bytes.buffer).setFloat64(1, value);
  return bytes;
};
const single = (value: number): Uint8Array => {
  const bytes = new Uint8Array(5);
  bytes[0] = 0xfa;
  new DataView(bytes.buffer).setFloat32(1, value);
  return bytes;
};

/** Also where a shorter float would do: what is integral is refused as that, since only other floats are shortened. */
export const integralFloat = (seed: Seeded): Uint8Array => {
  const sign = seed.pick([1, -1]);
  switch (seed.below(4)) {
    case 0:
      return hexOf(seed, "f90000", "f98000", "f93c00", "f9bc00", "f97bff", "f96400", "f94900", "f9fbff");
    case 1:
      return single(sign * seed.pick([0, 1, 65_536, 100_000, 2 ** 24, 2 ** 40, 2 ** 53 - 2 ** 29]));
    default:
      return double(sign * seed.pick([0, 1, 2, 65_535, 2 ** 31, 2 ** 32 + 1, 2 ** 52 + 1, 2 ** 53 - 1]));
  }
};

export const longFloat = (seed: Seeded): Uint8Array => {
  const half = [1.5, -0.5, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1023.5, 3 * 2 ** -24, 1 + 2 ** -10];
  const singles = [
    2 ** -25,
    2 ** -149,
    2 ** 53,
    -(2 ** 64),
    100_000.5,
    1 + 2 ** -23,
    3.4028234663852886e38,
    1 + 2 ** -11,
  ];
  switch (seed.below(3)) {
    case 0:
      return single(seed.pick(half));
    case 1:
      return double(seed.pick(half));
    default:
      return double(seed.pick(singles));
  }
};

const sequences = [
  "80",
  "bf",
  "c080",
  "c1bf",
  "c3",
  "c328",
  "e08080",
  "e09fbf",
  "e282",
  "e28228",
  "eda080",
  "edbfbf",
  "eda0bdedb880",
  "f0808080",
  "f08fbfbf",
  "f09f98",
  "f4908080",
  "f5808080",
  "f88888888888",
  "fe",
  "ff",
  "c0",
];

/** A text with one bad sequence, at its beginning, its end or between, short and long. */
export const notUtf8 = (seed: Seeded): Uint8Array => {
  const begin = utf8Encode(
    seed.pick(["", "", "a", "é", "語\u{1f600}", "a".repeat(23), "b".repeat(40), "c".repeat(300)]),
  );
  const end = utf8Encode(seed.pick(["", "", "z", "ÿ", "z".repeat(70)]));
  const content = concatBytes(begin, hexOf(seed, ...sequences), end);
  return concatBytes(head(3, BigInt(content.length)), content);
};

export const keyOfAnotherType = (seed: Seeded): Uint8Array =>
  hexOf(
    seed,
    "00",
    "17",
    "1818",
    "190100",
    "20",
    "37",
    "3818",
    "40",
    "4161",
    "44deadbeef",
    "80",
    "8101",
    "a0",
    "a1616100",
    "f4",
    "f5",
    "f6",
    "f93e00",
    "fa47c35040",
  );
