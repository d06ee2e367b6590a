/**
 * What refuses a decision as a condition: the rule that the package ships, by oxlint as a user runs it, and the
 * compiler where the answer was not awaited. typescript-eslint, with types, runs in `npm run packages`.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../../scripts/run.ts";

const given = `
import { connect, type Decision, type Question, type SigilConnection } from "@sigil/client";
import assert from "node:assert";
declare const question: Question;
declare const other: { check(question: Question): Promise<boolean>; then(use: (is: boolean) => void): void };
declare const act: () => void;
const gate = connect({ target: "localhost:1" });
declare const sigil: SigilConnection;
class Service { readonly sigil = gate; }
`;

/** One a line, each of which lets a deny through. */
const refused = [
  "if (await sigil.check(question)) act();",
  "if (await gate.check(question)) act();",
  "if (await gate.trust.check(question)) act();",
  "if (await new Service().sigil.check(question)) act();",
  'if (await sigil["check"](question)) act();',
  "if ((await sigil.check(question)) as Decision) act();",
  "if ((await sigil.check(question))!) act();",
  "if (!(await sigil.check(question))) throw new Error();",
  "while (await sigil.check(question)) act();",
  "do act(); while (await sigil.check(question));",
  "for (; await sigil.check(question); ) act();",
  "export const chosen = (await sigil.check(question)) ? 1 : 2;",
  "(await sigil.check(question)) && act();",
  "(await sigil.check(question)) || assert.fail();",
  "if (question.action && (await sigil.check(question))) act();",
  "if (Boolean(await sigil.check(question))) act();",
  "assert(await sigil.check(question));",
  "assert.ok(await sigil.check(question));",
  "{ const held = await sigil.check(question); if (held) act(); }",
  "{ const held = await sigil.check(question); const again = held; if (again) act(); }",
  "{ const asked = sigil.check(question); if (await asked) act(); }",
  "{ const { trust } = gate; if (await trust.check(question)) act(); }",
  "{ const { trust: judge } = gate; if (await judge.check(question)) act(); }",
  "{ const { check } = sigil; if (await check(question)) act(); }",
  "{ const check = gate.check; if (await check(question)) act(); }",
  "export const asked = async (to: SigilConnection) => { if (await to.check(question)) act(); };",
  "export const chained = sigil.check(question).then((decision) => (decision ? 1 : 2));",
  "{ let held; if ((held = await sigil.check(question))) act(); }",
];

const accepted = [
  "if ((await sigil.check(question)).allowed) act();",
  "{ const held = await sigil.check(question); if (held.allowed) act(); }",
  "{ const { allowed } = await sigil.check(question); if (allowed) act(); }",
  "export const chosen = (await sigil.check(question)).allowed ? 1 : 2;",
  "await sigil.require(question);",
  "if (await other.check(question)) act();",
  "{ const held = await other.check(question); if (held) act(); }",
  "other.then((decision) => (decision ? act() : undefined));",
  "export const first = (await sigil.check(question)) ?? undefined;",
  "{ const held = await sigil.check(question); if (held !== undefined) act(); }",
  "export const chained = sigil.check(question).then((decision) => (decision.allowed ? 1 : 2));",
];

const compiled = {
  extends: "../../../../tsconfig.json",
  compilerOptions: { noUnusedLocals: false },
  include: ["*.ts"],
};

/** The lines of the last file that a tool complains about. */
const linesIn = (output: string, pattern: RegExp): readonly string[] =>
  [...output.matchAll(pattern)].map(([, line]) => line ?? "");

describe("a decision as a condition", () => {
  let directory: string;
  // Inside the repository, so that the package is found by its name.
  before(async () => void (directory = await mkdtemp(join(import.meta.dirname, ".lint-"))));
  after(() => rm(directory, { recursive: true }));

  const write = async (lines: readonly string[]): Promise<string> => {
    const path = join(directory, "guarded.ts");
    await writeFile(path, given + lines.join("\n"));
    return path;
  };
  const lint = async (path: string, config: object, ...flags: readonly string[]): Promise<string> => {
    const file = join(directory, "oxlint.json");
    await writeFile(file, JSON.stringify(config));
    return (await run(["oxlint", "-c", file, "--format=unix", ...flags, path], { cwd: repository })).output;
  };
  const shipped = (options: object = {}) => ({
    categories: { correctness: "off" },
    jsPlugins: [{ name: "sigil", specifier: "@sigil/client/lint" }],
    rules: { "sigil/no-decision-as-condition": ["error", options] },
  });
  const complaints = /guarded\.ts:(\d+):\d+: (?=.*no-decision-as-condition|.*read its `allowed`)/g;
  const firstLine = given.split("\n").length;
  const planted = (output: string, lines: readonly string[]): readonly string[] =>
    [...new Set(linesIn(output, complaints))].map(
      (line) => lines[Number(line) - firstLine] ?? `line ${line}`,
    );

  it("is refused by the shipped rule, wherever it may stand", async () => {
    const output = await lint(await write(refused), shipped());
    expect(planted(output, refused)).to.deep.equal(refused);
  });

  it("is not seen by the shipped rule where there is none", async () => {
    expect(planted(await lint(await write(accepted), shipped()), accepted)).to.deep.equal([]);
  });

  it("is refused of a connection by a name of one's own, which an option tells", async () => {
    const lines = ["if (await other.check(question)) act();"];
    const path = await write(lines);
    expect(planted(await lint(path, shipped()), lines)).to.deep.equal([]);
    expect(planted(await lint(path, shipped({ connections: ["other"] })), lines)).to.deep.equal(lines);
  });

  it("is refused by the general type-aware rule of oxlint, which knows its type", async () => {
    const lines = [
      "if (await sigil.check(question)) act();",
      "if ((await sigil.check(question)).allowed) act();",
    ];
    const tsconfig = join(directory, "tsconfig.json");
    await writeFile(tsconfig, JSON.stringify(compiled));
    const config = {
      plugins: ["typescript"],
      categories: { correctness: "off" },
      rules: { "typescript/strict-boolean-expressions": "error" },
    };
    const output = await lint(await write(lines), config, "--type-aware", "--tsconfig", tsconfig);
    expect(linesIn(output, /guarded\.ts:(\d+):\d+:/g)).to.deep.equal([String(firstLine)]);
  });

  it("is refused by the compiler where it is a promise still, and only there", async () => {
    const lines = ["if (sigil.check(question)) act();", "if (await sigil.check(question)) act();"];
    await write(lines);
    const tsconfig = join(directory, "tsconfig.json");
    await writeFile(tsconfig, JSON.stringify(compiled));
    const { output } = await run(["tsc", "-p", tsconfig, "--pretty", "false"], { cwd: repository });
    expect(linesIn(output, /guarded\.ts\((\d+),\d+\): error TS2801/g)).to.deep.equal([String(firstLine)]);
    expect(linesIn(output, /(error) TS/g)).to.have.length(1);
  });
});
