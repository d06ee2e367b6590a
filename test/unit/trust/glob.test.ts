/** Globs: what they match, which wins, and that no text or pattern is slow. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { globFindsMax } from "../../../src/core/limits.ts";
import { compareGlobs, compileGlob, compileGlobTable, globFault } from "../../../src/core/model/glob.ts";

const MATCHES: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
  ["read", "read", true],
  ["read", "Read", false],
  ["a%2Ab", "a*b", true],
  ["a%2Ab", "axb", false],
  ["a%2Ab", "a%2Ab", false],
  ["%2A*/x", "*/x", true],
  ["%2A*/x", "y/x", false],
  ["read", "read2", false],
  ["tool.*", "tool.search", true],
  ["tool.*", "tool.web.search", true],
  ["tool.*", "tool.", true],
  ["tool.*", "tool", false],
  ["tool.*", "tool.a/b", false],
  ["*", "anything", true],
  ["*", "a/b", false],
  ["user/*", "user/ann", true],
  ["user/*", "user/ann/notes", false],
  ["user/*/notes", "user/ann/notes", true],
  ["user/*/notes", "user/ann/bob/notes", false],
  ["*.md", "a.md", true],
  ["a*b*c", "a1b2c", true],
  ["a*b*c", "abc", true],
  ["a*b*c", "ac", false],
  ["a*a", "a", false],
  ["a*ab", "aab", true],
  ["a*bc*bc", "abc", false],
  ["**", "a/b/c", true],
  ["public/**", "public/docs", true],
  ["public/**", "public/docs/a.md", true],
  ["public/**", "public", false],
  ["public/**", "publicity/x", false],
  ["**/secret", "secret", true],
  ["**/secret", "a/b/secret", true],
  ["**/secret", "a/b/secrets", false],
  ["a/**/z", "a/z", true],
  ["a/**/z", "a/b/c/z", true],
  ["a/**/z", "a/b/c", false],
  ["a/**/m/**/z", "a/m/z", true],
  ["a/**/m/**/z", "a/x/m/y/z", true],
  ["a/**/m/**/z", "a/x/z", false],
  ["a/**/m/*/**", "a/m/m/x/y", true],
  ["a/**/m/*/**", "a/m/x", false],
  ["a.b", "axb", false],
  ["a?c", "abc", false],
  ["[ab]", "a", false],
  ["é/*", "é/x", true],
];

/** The dumb second version: try everything. */
const naiveMatch = (pattern: readonly string[], text: readonly string[]): boolean => {
  const [head, ...rest] = pattern;
  if (head === undefined) return text.length === 0;
  if (head === "**") {
    if (rest.length === 0) return text.length > 0;
    return text.some((_, at) => naiveMatch(rest, text.slice(at))) || naiveMatch(rest, []);
  }
  const [first, ...others] = text;
  const segment = (p: string, t: string): boolean =>
    p === ""
      ? t === ""
      : p[0] === "*"
        ? segment(p.slice(1), t) || (t !== "" && segment(p, t.slice(1)))
        : p[0] === t[0] && segment(p.slice(1), t.slice(1));
  return first !== undefined && segment(head, first) && naiveMatch(rest, others);
};

describe("trust globs", () => {
  for (const [pattern, text, matches] of MATCHES) {
    it(`${pattern} ${matches ? "matches" : "does not match"} ${text}`, () => {
      expect(globFault(pattern)).equal(null);
      expect(compileGlob(pattern).matches(text)).equal(matches);
    });
  }

  for (const pattern of [
    "",
    "a**",
    "**a",
    "a/b**",
    "***",
    "a\nb",
    "a/../b",
    "./a",
    "\ud800",
    "x".repeat(513),
  ]) {
    it(`refuses ${JSON.stringify(pattern.slice(0, 12))} as a pattern`, () => {
      expect(globFault(pattern)).to.be.a("string");
    });
  }

  it("agrees with a matcher that tries everything", () => {
    const segment = fc.string({ unit: fc.constantFrom("a", "b", "*"), minLength: 1, maxLength: 4 });
    const pattern = fc
      .array(fc.oneof(segment, fc.constant("**")), { minLength: 1, maxLength: 5 })
      .map((segments) => segments.join("/"))
      .filter((text) => globFault(text) === null);
    const text = fc
      .array(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 5,
      })
      .map((segments) => segments.join("/"));
    fc.assert(
      fc.property(pattern, text, (p, t) => {
        expect(compileGlob(p).matches(t), `${p} on ${t}`).equal(naiveMatch(p.split("/"), t.split("/")));
      }),
      { numRuns: 3000 },
    );
  });

  it("orders patterns by literal bytes, then fewer stars, then bytes", () => {
    const order = ["user/ann/notes", "user/*/notes", "user/**/notes", "user/*", "user/**", "*/*", "*", "**"];
    const sorted = [...order].reverse().sort((a, b) => compareGlobs(compileGlob(a), compileGlob(b)));
    expect(sorted).deep.equal(order);
  });

  it("counts stars before it looks at bytes", () => {
    expect(compareGlobs(compileGlob("*a"), compileGlob("**/a"))).below(0);
    expect(compareGlobs(compileGlob("**/a"), compileGlob("*a"))).above(0);
  });

  it("lets the most specific pattern win whatever the order of the table", () => {
    const entries = ["**", "user/**", "user/*/notes", "user/ann/notes", "user/ann/**"].map(
      (pattern) => [pattern, pattern] as const,
    );
    for (const table of [compileGlobTable(entries), compileGlobTable(entries.toReversed())]) {
      expect(table.find("user/ann/notes")?.value).equal("user/ann/notes");
      expect(table.find("user/bob/notes")?.value).equal("user/*/notes");
      expect(table.find("user/ann/photos")?.value).equal("user/ann/**");
      expect(table.find("user/bob/photos")?.value).equal("user/**");
      expect(table.find("other")?.value).equal("**");
    }
  });

  it("prefers the exact text to any pattern with as many literal bytes", () => {
    const table = compileGlobTable([
      ["read*", 1],
      ["read", 2],
      ["*read", 3],
    ]);
    expect(table.find("read")?.value).equal(2);
    expect(table.find("reader")?.value).equal(1);
  });

  it("matches nothing for a text that walks out of its folder", () => {
    const table = compileGlobTable([
      ["public/**", 0],
      ["**", 0],
    ]);
    for (const text of [
      "public/../system",
      "public/./x",
      "..",
      "public/..",
      "./public",
      "public/\u0000",
      "",
    ]) {
      expect(table.find(text), JSON.stringify(text)).equal(null);
    }
    expect(table.find("public/..x/.hidden")?.value).equal(0);
  });

  it("answers the same the second time, past what it remembers too", () => {
    const entries = [
      ["tool/*", 1],
      ["tool/7*", 2],
      ["tool/77", 3],
    ] as const;
    const table = compileGlobTable(entries);
    const texts = Array.from({ length: 3 * globFindsMax }, (_, index) =>
      index % 5 === 0 ? `other/${index}` : `tool/${index}`,
    );
    for (const text of [...texts, ...texts.slice(-globFindsMax), ...texts]) {
      expect(table.find(text), text).deep.equal(compileGlobTable(entries).find(text));
    }
  });

  it("finds nothing under the names every object has", () => {
    const table = compileGlobTable([["read", 1]]);
    for (const text of ["__proto__", "constructor", "toString"]) expect(table.find(text)).equal(null);
  });

  it("answers hostile patterns and texts without trying everything", () => {
    const hostile: readonly (readonly [string, string])[] = [
      [`${"*a".repeat(250)}b`, "a".repeat(512)],
      [`${"**/a/".repeat(100)}b`, "a/".repeat(255) + "c"],
      [`${"**/*a*a*a*b/".repeat(40)}b`, `${"aaaaaaaa/".repeat(56)}b`],
    ];
    const before = process.cpuUsage();
    for (const [pattern, text] of hostile) {
      expect(globFault(pattern)).equal(null);
      expect(compileGlob(pattern).matches(text)).equal(false);
    }
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000, "milliseconds of processor time").below(250);
  });
});
