/**
 * 500 broken encodings: a valid one with a single fault, placed where a value or a key begins, so that all before it is
 * valid and offset and rule follow from the fault. Encoded here item by item, apart from the encoder under test.
 */
import { concatBytes, toHex } from "@sigil/core/bytes";
import { cborRules } from "@sigil/core/cbor";
import { Seeded } from "../seeded.ts";
import { anyValue, nested } from "./parts.ts";
import { head, layOut, type Item } from "./layout.ts";
import * as faults from "./faults.ts";
import type { Typed } from "./typed.ts";

type Rule = keyof typeof cborRules;
interface Broken {
  readonly bytes: Uint8Array;
  readonly offset: number;
}

const seed = new Seeded(0xb2012);

/** Values to break: scalars alone, deep ones, and mixed ones with at least one map. */
const soil = (): Typed => {
  if (seed.once(8)) return seed.pick<Typed>([null, { i64: "500" }, { text: "text" }, { bytes: "00ff" }]);
  if (seed.once(5)) return nested(seed, seed.between(1, 14), { array: [null, { text: "é" }, { i64: "-1" }] });
  return {
    map: [
      ["a", anyValue(seed, 3)],
      ["payload", anyValue(seed, 2)],
      ["zz", { i64: "24" }],
    ],
  };
};

/** A valid encoding and one of its items that `fits`. */
const spot = (fits: (item: Item) => boolean): { readonly bytes: Uint8Array; readonly item: Item } => {
  for (;;) {
    const { bytes, items } = layOut(soil());
    const fitting = items.filter(fits);
    if (fitting.length > 0 && bytes.length < 3000) return { bytes, item: seed.pick(fitting) };
  }
};

/** Replaces an item; `at` is where the fault lies within the replacement. */
const replaced = (bytes: Uint8Array, item: Item, by: Uint8Array, at = 0): Broken => ({
  bytes: concatBytes(bytes.subarray(0, item.start), by, bytes.subarray(item.end)),
  offset: item.start + at,
});

const inValue =
  (make: (seed: Seeded) => Uint8Array): (() => Broken) =>
  () => {
    const { bytes, item } = spot(({ role }) => role === "value");
    return replaced(bytes, item, make(seed));
  };

/** In a key's place; only the first key of a map, so that no order is broken as well. */
const inKey =
  (make: (seed: Seeded) => Uint8Array): (() => Broken) =>
  () => {
    const { bytes, item } = spot(({ role, index }) => role === "key" && index === 0);
    return replaced(bytes, item, make(seed));
  };

/** The key after another, by that one: in its place (twice), or before it (out of order). */
const keyAfter = (bytes: Uint8Array, item: Item, by: "twice" | "swapped"): Broken => {
  const before = item.before as Item;
  const [first, second] = [bytes.subarray(before.start, before.end), bytes.subarray(item.start, item.end)];
  const between = bytes.subarray(before.end, item.start);
  const end = bytes.subarray(item.end);
  const begin = bytes.subarray(0, before.start);
  const keys = by === "twice" ? [first, first] : [second, first];
  const prefix = concatBytes(begin, keys[0] as Uint8Array, between);
  return { bytes: concatBytes(prefix, keys[1] as Uint8Array, end), offset: prefix.length };
};

const keys = (by: "twice" | "swapped"): Broken => {
  const { bytes, item } = spot(({ role, index }) => role === "key" && index > 0);
  return keyAfter(bytes, item, by);
};

const tooDeep = (): Broken => {
  const { bytes, item } = spot(({ role }) => role === "value");
  const chain: Uint8Array[] = [];
  const length = 17 - item.depth + seed.pick([0, 0, 0, 1, 5]);
  for (let at = 0; at < length; at += 1) {
    const isLast = at === length - 1;
    if (seed.once(2)) chain.push(isLast ? head(4, 0n) : head(4, 1n));
    else chain.push(isLast ? head(5, 0n) : concatBytes(head(5, 1n), Uint8Array.of(0x61, 0x61)));
  }
  const offset = concatBytes(...chain.slice(0, 16 - item.depth)).length;
  return replaced(bytes, item, concatBytes(...chain), offset);
};

/**
 * Cuts an encoding. The offset is that of the first item that ends or is claimed beyond the cut. A container is refused
 * at its head if fewer bytes are left than it has items; a map of which as many bytes are left as it has entries, but
 * not twice as many, is left out: it may be refused at its head or later.
 */
const cut = (): Broken | null => {
  const { bytes, items } = layOut(soil());
  if (bytes.length > 3000) return null;
  const end = seed.below(bytes.length);
  for (const item of items) {
    const isWhole = item.headEnd <= end;
    if (!isWhole) return { bytes: bytes.slice(0, end), offset: Math.min(item.start, end) };
    const left = end - item.headEnd;
    if (item.entries !== undefined) {
      if (item.entries > left) return { bytes: bytes.slice(0, end), offset: item.start };
      if (item.isMap && item.entries * 2 > left) return null;
    } else if (item.end > end) return { bytes: bytes.slice(0, end), offset: item.start };
  }
  return null;
};

const truncated = (): Broken => {
  if (seed.once(3)) {
    const { bytes, item } = spot(({ role, isLast }) => role === "value" && isLast);
    return replaced(bytes, item, faults.claimed(seed));
  }
  for (;;) {
    const broken = cut();
    if (broken !== null) return broken;
  }
};

const trailing = (): Broken => {
  const { bytes } = layOut(soil());
  if (bytes.length > 3000) return trailing();
  return { bytes: concatBytes(bytes, seed.bytes(seed.pick([1, 1, 2, 9]))), offset: bytes.length };
};

const either =
  (...makes: readonly (() => Broken)[]): (() => Broken) =>
  () =>
    seed.pick(makes)();

const makers: readonly (readonly [rule: Rule, count: number, make: () => Broken])[] = [
  ["truncated", 50, truncated],
  ["trailing", 20, trailing],
  ["tooDeep", 32, tooDeep],
  ["tooMany", 12, inValue(faults.tooMany)],
  ["reserved", 30, either(inValue(faults.reserved), inKey(faults.reservedKey))],
  ["indefinite", 36, either(inValue(faults.indefinite), inKey(faults.indefiniteKey))],
  [
    "notShortest",
    60,
    either(inValue(faults.notShortest), inValue(faults.notShortest), inKey(faults.notShortestKey)),
  ],
  ["belowRange", 18, inValue(faults.belowRange)],
  ["tag", 30, inValue(faults.tag)],
  ["simple", 30, inValue(faults.simple)],
  ["notFinite", 24, inValue(faults.notFinite)],
  ["integralFloat", 30, inValue(faults.integralFloat)],
  ["longFloat", 30, inValue(faults.longFloat)],
  ["utf8", 36, either(inValue(faults.notUtf8), inKey(faults.notUtf8))],
  ["keyType", 26, inKey(faults.keyOfAnotherType)],
  ["keyOrder", 18, () => keys("swapped")],
  ["keyTwice", 14, () => keys("twice")],
];

interface Case {
  readonly hex?: string;
  readonly parts?: readonly { readonly hex: string; readonly times: number }[];
  readonly offset: number;
  readonly rule: string;
}

/** One byte or more above the limit, in one text, one byte string or many items. */
const tooLong: readonly Case[] = [
  [
    { hex: "7a000ffffc", times: 1 },
    { hex: "61", times: 1_048_572 },
  ],
  [
    { hex: "5a000ffffc", times: 1 },
    { hex: "00", times: 1_048_572 },
  ],
  [
    { hex: "821a000100005a000ffff6", times: 1 },
    { hex: "ff", times: 1_048_566 },
  ],
  [
    { hex: "990fff", times: 1 },
    { hex: "590100" + "a5".repeat(256), times: 4095 },
  ],
].map((parts) => ({ parts, offset: 0, rule: cborRules.tooLong }));

const caseOf = (rule: Rule, { bytes, offset }: Broken): Case => ({
  hex: toHex(bytes),
  offset,
  rule: cborRules[rule],
});

export const brokenVectors = (): Readonly<Record<string, unknown>> => {
  const seen = new Set<string>();
  const cases = makers.flatMap(([rule, count, make]) => {
    const made: Case[] = [];
    while (made.length < count) {
      const broken = caseOf(rule, make());
      if (seen.has(broken.hex ?? "")) continue;
      seen.add(broken.hex ?? "");
      made.push(broken);
    }
    return made;
  });
  return { format: "test/vectors/README.md#broken", cases: [...cases, ...tooLong] };
};
