/** `npm run claims`, by planted READMEs: what counts as a claim and what counts as its proof. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { checkClaims, checkRepository, type TestReport } from "../../../scripts/claims.ts";

const test = (title: string) => ({ title, fullTitle: `group ${title}` });
const report: TestReport = {
  passes: [test("denies without a model")],
  failures: [test("fails")],
  pending: [test("waits")],
};

const sources: Readonly<Record<string, string>> = {
  "src/a.ts": "export const decide = 1;\nexport type Verdict = 2;\nconst hidden = 3;\n",
  "src/b.ts": 'export { one, two as three } from "./c.ts";\n',
};

const entry = (tests: readonly string[], symbols: readonly string[] = ["src/a.ts#decide"]) => ({
  tests,
  symbols,
});

const check = (readme: string, claims: Readonly<Record<string, unknown>> = {}): readonly string[] =>
  checkClaims({ readme, claims, report, readSource: (path) => sources[path] ?? null });

const marked = "It denies by default. <!-- claim: deny -->";

describe("the claims check", () => {
  it("accepts a claim whose test passed and whose symbol is exported", () => {
    expect(check(marked, { deny: entry(["denies without a model"], ["src/a.ts#Verdict"]) })).to.deep.equal(
      [],
    );
    expect(
      check(marked, { deny: entry(["group denies without a model"], ["src/b.ts#three"]) }),
    ).to.deep.equal([]);
  });

  it("finds this repository's claims marked, and every symbol that they name", () => {
    expect(checkRepository()).to.deep.equal([]);
  });

  it("accepts a README that promises nothing", () => {
    expect(check("# Sigil\n\nA gRPC service.\n\nRun `sigil verify`.\n")).to.deep.equal([]);
  });

  const refused: readonly (readonly [string, string, Readonly<Record<string, unknown>>, string])[] = [
    ["a sentence without a mark", "It denies by default.", {}, "README.md:1 claims something without a mark"],
    ...[
      "Every value",
      "Data at rest is encrypted",
      "Old tokens are refused",
      "The log is tamper-proof",
      "Order is guaranteed",
    ].map(
      (text) =>
        [`without a mark: ${text}`, `${text}.`, {}, "README.md:1 claims something without a mark"] as const,
    ),
    [
      "a sentence without a mark beside one with it",
      `${marked} It also\nrefuses forgeries.`,
      { deny: entry(["denies without a model"]) },
      'README.md:1 claims something without a mark: "It also refuses forgeries."',
    ],
    [
      "a mark before its sentence",
      "<!-- claim: deny -->\n\nIt denies.",
      { deny: entry(["denies without a model"]) },
      "README.md:3 claims something",
    ],
    [
      "an item among the claims without a mark",
      "## Claims\n\n- Fast.\n",
      {},
      "README.md:3 stands among the claims",
    ],
    [
      "a table row among the claims without a mark",
      "## Guarantees\n\n| fast |\n",
      {},
      "README.md:3 stands among",
    ],
    ["a mark without an entry", marked, {}, 'mark "deny" has no entry'],
    ["an entry without a mark", "A service.", { deny: entry(["x"]) }, 'entry "deny" has no mark'],
    [
      "an entry whose mark is only an example in a code block",
      `\`\`\`md\n${marked}\n\`\`\`\n`,
      { deny: entry(["denies without a model"]) },
      'entry "deny" has no mark',
    ],
    ["a missing test", marked, { deny: entry(["gone"]) }, 'no test "gone" in the last run'],
    ["a failed test", marked, { deny: entry(["fails"]) }, 'test "fails" failed'],
    ["a skipped test", marked, { deny: entry(["waits"]) }, 'test "waits" was skipped'],
    ["no tests", marked, { deny: entry([]) }, "tests must be a list"],
    ["no symbols", marked, { deny: entry(["denies without a model"], []) }, "symbols must be a list"],
    [
      "a symbol that is gone",
      marked,
      { deny: entry(["denies without a model"], ["src/a.ts#hidden"]) },
      "src/a.ts no longer exports hidden",
    ],
    [
      "a file that is gone",
      marked,
      { deny: entry(["denies without a model"], ["src/z.ts#decide"]) },
      "there is no file src/z.ts",
    ],
  ];
  for (const [name, readme, claims, problem] of refused) {
    it(`refuses ${name}`, () => {
      const problems = check(readme, claims);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.contain(problem);
    });
  }

  it("does not read code blocks, inline code or headings as sentences", () => {
    expect(check("# Never twice\n\n```sh\nsigil verify # always\n```\n\nType `verify`.\n")).to.deep.equal([]);
  });
});
