/** Canonical CBOR, rule by rule. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { fromHex, toHex } from "../../../src/core/bytes.ts";
import {
  cborDecode,
  cborDecodeHeader,
  cborEncode,
  cborEncodeHeader,
  type CborValue,
  type HeaderMap,
} from "../../../src/core/cbor/cbor.ts";
import { cborRules } from "../../../src/core/cbor/decode.ts";
import { cborBytesMax, cborEntriesMax } from "../../../src/core/limits.ts";
import { errorOf } from "./faults.ts";

/** What TypeScript would not let through but JavaScript would. */
const smuggled = (value: unknown): CborValue => value as CborValue;
const nested = (depth: number): CborValue => (depth === 0 ? 0 : { a: nested(depth - 1) });

describe("cborEncode refuses", () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const holed: number[] = [];
  holed[2] = 1;

  const cases: readonly (readonly [what: string, value: unknown, path: string, rule: string])[] = [
    ["NaN", [NaN], "/0", "NaN and infinities have no encoding"],
    ["infinity", { a: [1, -Infinity] }, "/a/1", "NaN and infinities have no encoding"],
    ["undefined", { a: undefined }, "/a", "undefined has no encoding"],
    ["a hole in an array", holed, "/0", "undefined has no encoding"],
    ["a function", { f: () => 1 }, "/f", "function has no encoding"],
    ["a symbol", Symbol("s"), "", "symbol has no encoding"],
    ["a Date", { at: new Date(0) }, "/at", "only plain objects, arrays and byte strings have an encoding"],
    ["a Map outside a header", new Map(), "", "only plain objects, arrays and byte strings have an encoding"],
    [
      "a view of floats",
      [new Float32Array(1)],
      "/0",
      "only plain objects, arrays and byte strings have an encoding",
    ],
    ["2^64", 2n ** 64n, "", "integer is outside -2^63 to 2^64-1"],
    ["an integer below -2^63", -(2n ** 63n) - 1n, "", "integer is outside -2^63 to 2^64-1"],
    ["a lone surrogate", { t: "a\ud800" }, "/t", "text has a lone surrogate"],
    [
      "a lone surrogate in long text",
      ["x".repeat(100), `${"x".repeat(100)}\udc00`],
      "/1",
      "text has a lone surrogate",
    ],
    ["a lone surrogate in a key", { ok: { "\udc00": 1 } }, "/ok/\udc00", "text has a lone surrogate"],
    ["seventeen maps deep", nested(17), "/a".repeat(16), "is nested deeper than 16"],
    ["a cycle", cyclic, "/self".repeat(16), "is nested deeper than 16"],
    ["4,097 items", { l: Array.from({ length: 4097 }, () => 0) }, "/l", "has more than 4096 entries"],
    ["text past 1 MiB", { t: "x".repeat(cborBytesMax + 1) }, "/t", "is longer than 1048576 bytes"],
    [
      "items that together pass 1 MiB",
      [new Uint8Array(cborBytesMax / 2), new Uint8Array(cborBytesMax / 2)],
      "/1",
      "is longer than 1048576 bytes",
    ],
    [
      "a key with slashes, escaped in the pointer",
      { "a/b~c": NaN },
      "/a~1b~0c",
      "NaN and infinities have no encoding",
    ],
  ];
  for (const [what, value, path, rule] of cases) {
    it(what, () => {
      expect(errorOf(() => cborEncode(smuggled(value)))).to.deep.equal({
        kind: "unencodableValue",
        path,
        rule,
      });
    });
  }

  it("and encodes the next value as if nothing had happened", () => {
    expect(() => cborEncode(NaN)).to.throw();
    expect(toHex(cborEncode([1, 2]))).to.equal("820102");
  });
});

describe("the limits of canonical CBOR", () => {
  it("accept a value of exactly 1 MiB and refuse one byte more, both ways", () => {
    const whole = cborEncode(new Uint8Array(cborBytesMax - 5));
    expect(whole).to.have.length(cborBytesMax);
    expect(cborDecode(whole)).to.have.length(cborBytesMax - 5);
    expect(errorOf(() => cborEncode(new Uint8Array(cborBytesMax - 4))).kind).to.equal("unencodableValue");
    const longer = new Uint8Array(cborBytesMax + 1);
    expect(errorOf(() => cborDecode(longer))).to.deep.equal({
      kind: "malformedCbor",
      offset: 0,
      rule: cborRules.tooLong,
    });
  });

  it("accept 4,096 entries and sixteen levels", () => {
    const list = Array.from({ length: cborEntriesMax }, (_, index) => index);
    expect(cborDecode(cborEncode(list))).to.deep.equal(list);
    expect(cborDecode(cborEncode(nested(16)))).to.deep.equal(nested(16));
  });

  it("stop a megabyte of opened arrays at the seventeenth", () => {
    expect(errorOf(() => cborDecode(new Uint8Array(cborBytesMax).fill(0x81)))).to.include({ offset: 16 });
  });
});

describe("cborEncode and cborDecode", () => {
  it("write -0 and 1.0 as integers and a bigint as an integer of its size", () => {
    expect(toHex(cborEncode([-0, 1.0, 5n, -1n]))).to.equal("8400010520");
    expect(cborDecode(cborEncode([5n, 2n ** 53n]))).to.deep.equal([5, 2n ** 53n]);
  });

  it("treat key names of JavaScript objects as ordinary", () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];
    const value = Object.fromEntries(names.map((name, index) => [name, { index }]));
    const decoded = cborDecode(cborEncode(value)) as Record<string, unknown>;
    expect(Object.getPrototypeOf(decoded)).to.equal(null);
    expect(Object.keys(decoded).toSorted()).to.deep.equal(names.toSorted());
    expect(Object.getOwnPropertyDescriptor(decoded, "__proto__")?.value).to.deep.equal({ index: 0 });
    expect(toHex(cborEncode(decoded as CborValue))).to.equal(toHex(cborEncode(value)));
  });

  it("do not depend on the order in which keys were set", () => {
    expect(toHex(cborEncode({ b: 1, a: 2, aa: 3 }))).to.equal(toHex(cborEncode({ aa: 3, a: 2, b: 1 })));
  });

  it("copy byte strings out of the input, also when the input is a Buffer", () => {
    for (const input of [fromHex("43010203"), Buffer.from("43010203", "hex")]) {
      const decoded = cborDecode(input) as Uint8Array;
      input.fill(0);
      expect(toHex(decoded)).to.equal("010203");
      expect(Object.getPrototypeOf(decoded)).to.equal(Uint8Array.prototype);
    }
  });

  it("read a window of a larger buffer", () => {
    expect(cborDecode(fromHex("ffff820102ff").subarray(2, 5))).to.deep.equal([1, 2]);
  });

  it("give every call its own output, also a call from inside another", () => {
    const first = cborEncode("first");
    const outer = cborEncode({
      get a() {
        return toHex(cborEncode("inner"));
      },
    });
    expect(toHex(first)).to.equal(toHex(cborEncode("first")));
    expect(cborDecode(outer)).to.deep.equal({ a: toHex(cborEncode("inner")) });
  });

  it("tell keys apart that share a slot of the key table", () => {
    const keys = Array.from({ length: 4000 }, (_, index) => `k${index}`);
    const value = Object.fromEntries(keys.map((key) => [key, key]));
    expect(cborDecode(cborEncode(value))).to.deep.equal(value);
    expect(cborDecode(cborEncode(value))).to.deep.equal(value);
  });
});

describe("CBOR headers", () => {
  const header: HeaderMap = new Map<number | string, number | HeaderMap>([
    ["a", 1],
    [-1, 2],
    [10, 3],
    [100, new Map([[1, 4]])],
    [-500, 5],
  ]);

  it("sort integer and text keys by their encoded bytes", () => {
    const hex = "a50a031864a1010420023901f305616101";
    expect(toHex(cborEncodeHeader(header))).to.equal(hex);
    expect(cborDecodeHeader(fromHex(hex))).to.deep.equal(header);
  });

  it("refuse a key that occurs as number and as bigint, a fractional key and a plain object inside", () => {
    const twice: HeaderMap = new Map<number | bigint, number>([
      [1, 0],
      [1n, 0],
    ]);
    expect(errorOf(() => cborEncodeHeader(twice))).to.include({ path: "/1", rule: "key occurs twice" });
    expect(errorOf(() => cborEncodeHeader(new Map([[0.5, 0]])))).to.include({ path: "/0.5" });
    const plain = new Map([[1, smuggled({ a: 1 })]]) as unknown as HeaderMap;
    expect(errorOf(() => cborEncodeHeader(plain))).to.include({
      path: "/1",
      rule: "must be a Map in a header",
    });
  });
});
