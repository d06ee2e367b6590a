/** What a witness sees of a change: nothing is missing, nothing looks like something else. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { diffPayloads, type DiffLine } from "../../../src/cli/terminal/diff.ts";
import { prettyJson } from "../../../src/cli/terminal/json-text.ts";
import { hexOf, invisible } from "./invisible.ts";
import { cborEncode, type CborMap, type CborValue } from "../../../src/core/cbor/cbor.ts";

const show = (lines: readonly DiffLine[]): readonly string[] =>
  lines.map(({ sign, path, value }) => `${sign} ${path}: ${value}`);
const diff = (before: CborValue | undefined, after: CborValue): readonly string[] =>
  show(diffPayloads(before, after));

describe("a diff of payloads", () => {
  const table: readonly (readonly [
    claim: string,
    before: CborValue | undefined,
    after: CborValue,
    lines: readonly string[],
  ])[] = [
    ["shows nothing where nothing changes", { a: [1, { b: "x" }] }, { a: [1, { b: "x" }] }, []],
    ["does not mind the order of keys", { a: 1, b: 2 }, { b: 2, a: 1 }, []],
    ["names a field by its path", { a: { b: 1 }, c: 3 }, { a: { b: 2 }, c: 3 }, ["- a.b: 1", "+ a.b: 2"]],
    [
      "quotes keys that could be read as a path",
      { actions: { "pay.*": { risk: 1 } } },
      { actions: { "pay.*": { risk: 0.5 } } },
      ['- actions["pay.*"].risk: 1', '+ actions["pay.*"].risk: 0.5'],
    ],
    ["shows every field of what is new", undefined, { a: { b: 1 }, c: [] }, ["+ a.b: 1", "+ c: []"]],
    ["shows every field of what goes", { a: { b: 1, c: 2 } }, {}, ["- a.b: 1", "- a.c: 2"]],
    ["tells text from a number", { a: 1 }, { a: "1" }, ["- a: 1", '+ a: "1"']],
    ["tells null from a missing field", { a: null }, {}, ["- a: null"]],
    ["tells an empty map from an empty list", { a: {} }, { a: [] }, ["- a: {}", "+ a: []"]],
    ["tells bytes from text", { a: "AQ==" }, { a: Uint8Array.of(1) }, ['- a: "AQ=="', "+ a: bytes AQ=="]],
    [
      "shows integers that no double holds",
      { a: 2n ** 63n },
      { a: 2n ** 63n + 1n },
      ["- a: 9223372036854775808", "+ a: 9223372036854775809"],
    ],
    ["shows one item put into a list", { w: ["a", "b"] }, { w: ["a", "x", "b"] }, ['+ w[1]: "x"']],
    ["shows one item taken out of a list", { w: ["a", "b", "c"] }, { w: ["a", "c"] }, ['- w[1]: "b"']],
    [
      "compares lists of one length place by place",
      [{ a: 1 }, { a: 2 }],
      [{ a: 1 }, { a: 3 }],
      ["- [1].a: 2", "+ [1].a: 3"],
    ],
    ["shows a value that becomes a map whole", { a: 1 }, { a: { b: 2 } }, ["- a: 1", "+ a.b: 2"]],
    ["shows a payload that is no map", "x", "y", ['- : "x"', '+ : "y"']],
  ];
  for (const [claim, before, after, lines] of table) {
    it(claim, () => {
      expect(diff(before, after)).to.deep.equal(lines);
    });
  }

  it("names long byte strings by their hash and shows keys as it is told to", () => {
    const [long] = diff(undefined, { a: new Uint8Array(65) });
    expect(long).to.match(/^\+ a: 65 bytes, SHA-256 [0-9a-f]{64}$/);
    const lines = diffPayloads(
      undefined,
      { k: Uint8Array.of(7) },
      {
        bytes: (path, bytes) => `${path}=${bytes[0]}`,
      },
    );
    expect(show(lines)).to.deep.equal(["+ k: k=7"]);
  });

  it("writes what is invisible as escapes, in values and in keys", () => {
    const lines = diff(undefined, { "a\u202eb": "c\u001b[2Jd\u{e0001}\n" }).join("");
    expect(lines).to.equal(String.raw`+ ["a\u202eb"]: "c\u001b[2Jd\udb40\udc01\n"`);
    expect(lines).to.not.match(/[\p{Cc}\p{Cf}]/u);
  });

  it("compares lists that are too long to align place by place", () => {
    const before = Array.from({ length: 1100 }, (_, at) => at);
    expect(diff(before, before.slice(1))).to.have.lengthOf(2 * 1099 + 1);
  });

  const leaf = fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom("", "a", "1", "null"),
    fc.uint8Array({ maxLength: 2 }),
  );
  const { value: anyValue } = fc.letrec<{ value: CborValue; map: CborMap }>((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie("value"), { maxLength: 4 }), tie("map")),
    map: fc.dictionary(fc.constantFrom("a", "b", "c.d", ""), tie("value"), { maxKeys: 3 }),
  }));

  it("is empty exactly when the canonical bytes are the same", () => {
    fc.assert(
      fc.property(anyValue, anyValue, (before, after) => {
        const same = Buffer.from(cborEncode(before)).equals(Buffer.from(cborEncode(after)));
        expect(diff(before, after).length === 0).to.equal(same);
      }),
      { numRuns: 2000 },
    );
  });

  it("never has more lines than both values have", () => {
    fc.assert(
      fc.property(anyValue, anyValue, (before, after) => {
        const [all, gone] = [diff(undefined, after), diff(undefined, before)];
        expect(diff(before, after).length).to.be.at.most(all.length + gone.length);
      }),
      { numRuns: 500 },
    );
  });
});

describe("JSON on a terminal", () => {
  for (const character of invisible) {
    it(`escapes U+${hexOf(character)}`, () => {
      const shown = prettyJson(JSON.stringify(`a${character}b`));
      expect(shown).to.match(/^[\x20-\x7e]+$/);
      expect(JSON.parse(shown)).to.equal(`a${character}b`);
    });
  }

  it("means the same and hides nothing", () => {
    const value = { a: "x\u202ey\u2028", "k\u200b": [1, "\u{e0001}"] };
    const shown = prettyJson(JSON.stringify(value));
    expect(JSON.parse(shown)).to.deep.equal(value);
    expect(shown).to.not.match(/[\p{Cf}\p{Zl}]/u);
  });

  it("shows what is no JSON as text", () => {
    expect(prettyJson("a\u001b[2J")).to.equal(String.raw`"a\u001b[2J"`);
  });
});
