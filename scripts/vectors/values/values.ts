/** 500 records described as values, 270 of them whole bodies, and values that have no encoding. */
import { toHex } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";
import { payloads } from "../payloads.ts";
import { Seeded } from "../seeded.ts";
import { anyKeys, anyValue, floats, integers, keyPool, nested, texts } from "./parts.ts";
import { integer, typedOf, valueOfTyped, type Typed } from "./typed.ts";

type Named = readonly [name: string, value: Typed];

const seed = new Seeded(0x51611);
const recordCount = 500;
const bodyCount = 270;

const sizes: readonly Named[] = [
  ...[23, 24, 255, 256, 65_535, 65_536, 1_048_571].map((times): Named => [
    `text of ${times} bytes`,
    { text: "a", times },
  ]),
  ...[0, 1, 23, 24, 255, 256, 65_535, 65_536, 1_048_571].map((times): Named => [
    `byte string of ${times} bytes`,
    { bytes: "a5", times },
  ]),
  ["text of 90,000 bytes in surrogate pairs", { text: "\u{1f600}é語", times: 10_000 }],
  ...[0, 23, 24, 255, 256, 4096].map((times): Named => [`array of ${times}`, { array: [null], times }]),
  ["array of 4,096 in threes and a rest", { array: [{ i64: "24" }, { text: "é" }], times: 2048 }],
  ...[0, 23, 24, 255, 256, 4096].map((length): Named => [
    `map of ${length}`,
    { map: seed.shuffled(seed.list(length, (index) => [`k${index * 7}`, null] as const)) },
  ]),
];

const shapes: readonly Named[] = [
  ...[1, 2, 8, 15, 16].map((depth): Named => [`${depth} deep`, nested(seed, depth, integer(7))]),
  ...[15, 16].map((depth): Named => [`empty array, ${depth} deep`, nested(seed, depth - 1, { array: [] })]),
  ...[15, 16].map((depth): Named => [`empty map, ${depth} deep`, nested(seed, depth - 1, { map: [] })]),
  ["the whole pool of keys", { map: seed.shuffled(keyPool).map((key) => [key, { text: key }] as const) }],
  ...seed.list(6, (index): Named => [
    `keys in another order, ${index + 1}`,
    { map: anyKeys(seed, 12).map((key, at) => [key, integer(at)] as const) },
  ]),
];

const chosenValues: readonly Named[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ...integers.map((value): Named => [`integer ${value}`, integer(value)]),
  ...floats,
  ...texts.map(([name, text]): Named => [name, { text }]),
  ...sizes,
  ...shapes,
];

const idCharacters = "ABCXYZabcxyz0189._~:@-";
const segment = (): string =>
  `a${seed.list(seed.between(0, 12), () => seed.pick([...idCharacters])).join("")}`;

interface Names {
  readonly kind: string;
  readonly version: number;
  readonly space: "user" | "system";
}

const hash = (): Typed => ({ bytes: toHex(seed.bytes(32)) });
const labels = ["cites", "größe", "\u{1f517}", "model", "l".repeat(255), "é", "zz"];

const body = ({ kind, version, space }: Names, payload: Typed): Typed => ({
  map: seed.shuffled<readonly [string, Typed]>([
    ["kind", { text: kind }],
    ["schema_version", integer(version)],
    ["id", { text: seed.list(seed.between(1, 4), segment).join("/") }],
    ["tenant", { text: space === "system" ? "system" : seed.pick(["acme", "t".repeat(63), "a-1", "0"]) }],
    ["ts", integer(seed.pick([0, 1, 1_700_000_000_000, 2 ** 32, Number.MAX_SAFE_INTEGER]))],
    ["space", { text: space }],
    ["payload", payload],
    [
      "links",
      {
        array: seed.list(seed.pick([0, 0, 0, 0, 0, 1, 1, 2, 2, 24, 64]), () => ({
          map: seed.shuffled<readonly [string, Typed]>([
            ["label", { text: seed.pick(labels) }],
            ["target", hash()],
          ]),
        })),
      },
    ],
    ["prev", seed.once(2) ? null : hash()],
  ]),
});

const governed = payloads.map(([name, kind, payload, version = 1]): Named => [
  `record: ${name}`,
  body({ kind, version, space: kind === "frozen_chain" ? "user" : "system" }, typedOf(payload, seed)),
]);

const kinds = ["note", "user_data", "größe", "k".repeat(255), "\u{1f4dd}", "x/y"];
const userData = (index: number): Named => [
  `record: user data ${index + 1}`,
  body(
    { kind: seed.pick(kinds), version: seed.pick([1, 1, 23, 24, 255, 256, 65_535]), space: "user" },
    seed.once(12) ? nested(seed, 15, seed.pick(floats)[1]) : anyValue(seed, seed.between(0, 5)),
  ),
];

const bodies = [...governed, ...seed.list(bodyCount - governed.length, userData)];
const values = [
  ...chosenValues,
  ...seed.list(recordCount - bodyCount - chosenValues.length, (index): Named => [
    `value ${index + 1}`,
    anyValue(seed, 7),
  ]),
];

/** What an encoder refuses. The rule is named as in `cborRules`; `range` has no decoder's rule for its upper end. */
const unencodable: readonly (readonly [name: string, rule: string, value: Typed])[] = [
  ...["7c00", "fc00", "7e00", "7c01"].map((bits) => [`half ${bits}`, "notFinite", { f16: bits }] as const),
  ...["7f800000", "ff800000", "7fc00000"].map(
    (bits) => [`single ${bits}`, "notFinite", { f32: bits }] as const,
  ),
  ...["7ff0000000000000", "fff0000000000000", "7ff8000000000000", "fff8000000000001"].map(
    (bits) => [`double ${bits}`, "notFinite", { f64: bits }] as const,
  ),
  ["NaN inside", "notFinite", { map: [["a", { array: [null, { f64: "7ff8000000000001" }] }]] }],
  ["2^64", "range", { u64: "18446744073709551616" }],
  ["-2^63 - 1", "range", { i64: "-9223372036854775809" }],
  ["-2^64", "range", { i64: "-18446744073709551616" }],
  ["17 arrays deep", "tooDeep", { array: [nested(new Seeded(1), 16, null)] }],
  ["empty map, 17 deep", "tooDeep", nested(new Seeded(2), 16, { map: [] })],
  ["record with a payload 16 deep", "tooDeep", { map: [["payload", nested(new Seeded(3), 16, null)]] }],
  ["array of 4,097", "tooMany", { array: [null], times: 4097 }],
  [
    "map of 4,097",
    "tooMany",
    { map: Array.from({ length: 4097 }, (_, index) => [`${index}`, null] as const) },
  ],
  ["text of 1,048,572 bytes", "tooLong", { text: "a", times: 1_048_572 }],
  ["byte string of 1,048,572 bytes", "tooLong", { bytes: "00", times: 1_048_572 }],
  [
    "two halves and a byte",
    "tooLong",
    {
      array: [
        { text: "a", times: 524_283 },
        { text: "b", times: 524_283 },
      ],
    },
  ],
];

const described = ([name, typed]: Named): unknown => {
  const encoded = cborEncode(valueOfTyped(typed));
  return { name, bytes: encoded.length, sha256: toHex(sha256(encoded)), value: typed };
};

const hashOfAll = (all: readonly Named[]): string =>
  toHex(sha256(Buffer.concat(all.map(([, typed]) => sha256(cborEncode(valueOfTyped(typed)))))));

export const valueVectors = (): Readonly<Record<string, unknown>> => {
  const all = [...bodies, ...values];
  return {
    format: "test/vectors/README.md#values",
    sha256: hashOfAll(all),
    bodies: bodies.map(described),
    values: values.map(described),
    refuse: unencodable.map(([name, rule, value]) => ({ name, rule, value })),
  };
};
