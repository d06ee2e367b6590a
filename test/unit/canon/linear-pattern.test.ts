/** Patterns of schemas: as JavaScript matches them, in linear time, or refused. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { linearPattern } from "../../../src/canon/schemas/linear-pattern.ts";

const texts = [
  "",
  "a",
  "aa",
  "ab",
  "b",
  "foo bar",
  "é",
  "\u{1f600}",
  "\n",
  "a\nb",
  "/",
  "..",
  "x@y.z",
  "\u2028",
  "\u0001",
  "1-",
];

const matches = (source: string): ((text: string) => boolean) => {
  const pattern = linearPattern(source);
  return pattern.kind === "linear" ? pattern.test : expect.fail(`${source} ${pattern.rule}`);
};

describe("a linear pattern", () => {
  const sources = [
    "^a+$",
    "(a+)+$",
    "^[^a]*$",
    "\\p{L}+",
    "\\P{L}",
    "[\\s\\S]",
    "^\\u{1F600}$",
    "a{1000}",
    "[]",
    "[^]",
    "\\bfoo\\b",
    "\\Boo",
    "^$",
    "a|b|",
    "\\.",
    "/",
    "^(a|aa)+$",
    "^.{2}$",
    "(?<x>a)",
    "\\cA",
    "^[\\w.+-]+@[\\w-]+\\.[\\w.]+$",
    "[^\\d\\s]",
    ".",
    "[\\]a-c-]",
  ];
  for (const source of sources) {
    it(`matches what JavaScript does: ${source}`, () => {
      const [ours, theirs] = [matches(source), new RegExp(source, "u")];
      for (const text of texts) expect(ours(text), JSON.stringify(text)).to.equal(theirs.test(text));
    });
  }

  const atom = fc.constantFrom(
    "a",
    "b",
    ".",
    "\\d",
    "\\w",
    "\\s",
    "[ab]",
    "[^a]",
    "[a-c\\d]",
    "\\n",
    "é",
    "\\u{1F600}",
    "^",
    "$",
    "\\b",
  );
  const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
    piece: fc.oneof(
      { maxDepth: 3 },
      atom,
      tie("pattern").map((inner) => `(?:${inner})`),
    ),
    pattern: fc
      .array(fc.tuple(tie("piece"), fc.constantFrom("", "", "*", "+", "?", "{1,3}", "|")), { maxLength: 4 })
      .map((pieces) =>
        pieces
          .map(([piece, suffix]) =>
            /^(?:\^|\$|\\b)$/.test(piece) && suffix !== "|" ? piece : piece + suffix,
          )
          .join(""),
      ),
  }));
  const text = fc.string({
    unit: fc.constantFrom("a", "b", "c", "1", " ", "\n", "\r", "é", "\u{1f600}", "_", "\u00a0"),
    maxLength: 8,
  });

  it("matches what JavaScript does, whatever is written", () => {
    fc.assert(
      fc.property(pattern, text, (source, subject) => {
        expect(matches(source)(subject)).to.equal(new RegExp(source, "u").test(subject));
      }),
      { numRuns: 1500 },
    );
  });

  it("comes to an end where backtracking does not", () => {
    expect(matches("^(a|aa)+$")(`${"a".repeat(100_000)}b`)).to.equal(false);
    expect(matches("^(\\w+\\s?)*$")(`${"a ".repeat(50_000)}!`)).to.equal(false);
  });

  const refused: readonly (readonly [source: string, rule: string])[] = [
    ["(?=a)", "looks ahead or behind"],
    ["(?<!a)b", "looks ahead or behind"],
    ["(a)\\1", "refers back to a group"],
    ["(?<n>a)\\k<n>", "refers back to a group"],
    ["(a{1000}){1000}", "repeats more than a linear engine takes"],
  ];
  for (const [source, rule] of refused) {
    it(`is none: ${source}`, () => {
      expect(linearPattern(source)).to.deep.equal({ kind: "unsupported", rule });
    });
  }

  it("is none where there is no pattern", () => {
    expect(() => linearPattern("(")).to.throw(SyntaxError);
  });
});
