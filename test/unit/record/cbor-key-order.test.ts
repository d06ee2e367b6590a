/**
 * The order of a map's keys is that of their bytes in UTF-8, also where every key is Latin-1 and so looks almost like
 * ASCII.
 */
import { encode } from "cbor2";
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { toHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborMap } from "../../../src/core/cbor/cbor.ts";
import { deterministicEncode } from "./cbor2-profile.ts";

const orders: readonly (readonly [keys: readonly string[], hex: string])[] = [
  // One unit of UTF-16, two bytes of UTF-8: as long as "zz", and after it.
  [["é", "zz"], "a2627a7a0062c3a900"],
  [["ÿ", "b", "aa"], "a36162006261610062c3bf00"],
  [["\u0080", "~~"], "a2627e7e0062c28000"],
  [["\u007f", "~~"], "a2617f00627e7e00"],
  // Above the surrogates in UTF-16, below in UTF-8.
  [["\u{10000}", "\uffff\u007f"], "a264efbfbf7f0064f090808000"],
];

const mapOf = (keys: readonly string[]): CborMap => Object.fromEntries(keys.map((key) => [key, 0]));

describe("a map's keys", () => {
  for (const [keys, hex] of orders) {
    it(`are ordered by their bytes: ${keys.map((key) => JSON.stringify(key)).join(", ")}`, () => {
      for (const given of [keys, keys.toReversed()]) {
        expect(toHex(cborEncode(mapOf(given)))).to.equal(hex);
        expect(cborDecode(cborEncode(mapOf(given)))).to.deep.equal(mapOf(keys));
      }
    });
  }

  it("of Latin-1 alone are ordered as another implementation orders them", () => {
    const latin = fc.string({
      unit: fc.nat({ max: 0xff }).map((unit) => String.fromCharCode(unit)),
      maxLength: 4,
    });
    fc.assert(
      fc.property(fc.uniqueArray(latin, { minLength: 2, maxLength: 30 }), (keys) => {
        const entries = new Map(keys.map((key) => [key, 0]));
        expect(toHex(cborEncode(mapOf(keys)))).to.equal(toHex(encode(entries, deterministicEncode)));
      }),
    );
  });
});
