/**
 * `npm run claims`: checks that every claim in README is proved by a test of the last run.
 *
 * The rule: outside code blocks, a sentence of README.md is a claim if it contains a capability word
 * (`capabilityWords`) outside `inline code`, or if it is a list item or table row in a section whose heading says
 * "claims" or "guarantees". A claim carries its mark right after it: `Every decision is signed. <!-- claim: signed
 * -->`. claims.toml has one table a mark: `[signed]`, `tests = ["title or full title", …]`, `symbols =
 * ["src/file.ts#name", …]`.
 */
import { existsSync, readFileSync } from "node:fs";
import { parse } from "smol-toml";

/** Words that make a sentence a promise rather than a description. */
const capabilityWords = new RegExp(
  "\\b(?:" +
    "verif(?:y|ies)|refuses?|den(?:y|ies)|signs|proves?|rotates?|seals|encrypts|survives|guarantees?|detects?|rejects?" +
    "|prevents?|enforces?|recomputes?|cannot|never|always|every|no one|nobody|without exception" +
    "|(?:is|are|be|gets?) (?:also |then |all )?(?:verified|refused|denied|signed|sealed|encrypted|authenticated|bounded|limited|protected)" +
    "|tamper-(?:proof|evident)|guaranteed" +
    ")\\b",
  "i",
);

const claimSection = /\b(?:claims|guarantees)\b/i;
const mark = /<!--\s*claim:\s*([a-z0-9-]+)\s*-->/g;

/** The used part of mocha's JSON report. */
export type TestReport = Readonly<Record<"passes" | "failures" | "pending", readonly ReportedTest[]>>;
type ReportedTest = { readonly title: string; readonly fullTitle: string };

type Sentence = { readonly line: number; readonly text: string; readonly marks: readonly string[] };
type Block = { readonly line: number; readonly text: string; readonly mustMark: boolean };

/** Paragraphs, list items and table rows with their first line; without code blocks and headings. */
const blocksOf = (readme: string): readonly Block[] => {
  const blocks: Block[] = [];
  let open = null as Block | null;
  let inCode = false;
  let inClaims = false;
  const close = (): void => {
    if (open !== null) blocks.push(open);
    open = null;
  };
  for (const [index, text] of readme.split("\n").entries()) {
    const line = index + 1;
    const isFence = /^\s*(?:```|~~~)/.test(text);
    if (isFence) inCode = !inCode;
    const isHeading = !inCode && /^#{1,6} /.test(text);
    if (isHeading) inClaims = claimSection.test(text);
    const isItem = /^\s*(?:[-*+]|\d+\.) /.test(text);
    const isRow = /^\s*\|/.test(text);
    const isText = !isFence && !inCode && !isHeading && text.trim() !== "";
    if (!isText || isItem || isRow) close();
    if (!isText) continue;
    // The separator under a table's header: the row before it is not a claim.
    if (/^\s*\|[\s:|-]+$/.test(text)) {
      blocks.pop();
      continue;
    }
    open =
      open === null
        ? { line, text, mustMark: inClaims && (isItem || isRow) }
        : { ...open, text: `${open.text}\n${text}` };
  }
  close();
  return blocks;
};

/** A sentence ends at a full stop before white space, plus following marks. */
const sentencesOf = (block: Block): readonly Sentence[] => {
  const pieces =
    block.text.match(/(?:[\s\S]+?(?:[.!?](?=\s|$)|$))(?:\s*<!--[\s\S]*?-->)*(?:[\s|]*$)?/g) ?? [];
  let line = block.line;
  return pieces.map((piece) => {
    const startLine = line + (/^\s*/.exec(piece)?.[0].split("\n").length ?? 1) - 1;
    line += piece.split("\n").length - 1;
    const marks = [...piece.matchAll(mark)].map((match) => match[1] ?? "");
    const text = piece
      .replaceAll(/<!--[\s\S]*?-->/g, "")
      .replaceAll(/\s+/g, " ")
      .trim();
    return { line: startLine, text, marks };
  });
};

const unmarked = (readme: string): readonly string[] =>
  blocksOf(readme).flatMap((block) => {
    const sentences = sentencesOf(block);
    const blockIsMarked = sentences.some((sentence) => sentence.marks.length > 0);
    if (block.mustMark && !blockIsMarked) {
      return [`README.md:${block.line} stands among the claims without a mark: "${sentences[0]?.text}"`];
    }
    return sentences
      .filter(
        ({ text, marks }) => marks.length === 0 && capabilityWords.test(text.replaceAll(/`[^`]*`/g, "")),
      )
      .map(({ line, text }) => `README.md:${line} claims something without a mark: "${text}"`);
  });

const asTexts = (value: unknown): readonly string[] | null =>
  Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string") ? value : null;

const testProblem = (name: string, title: string, report: TestReport): readonly string[] => {
  const isNamed = (test: ReportedTest): boolean => test.title === title || test.fullTitle === title;
  if (report.failures.some(isNamed)) return [`claim "${name}": test "${title}" failed`];
  if (report.pending.some(isNamed)) return [`claim "${name}": test "${title}" was skipped`];
  if (!report.passes.some(isNamed)) return [`claim "${name}": no test "${title}" in the last run`];
  return [];
};

const exportsName = (source: string, name: string): boolean =>
  new RegExp(
    `^export (?:declare )?(?:async )?(?:const|let|function\\*?|class|type|interface) ${name}\\b` +
      `|^export (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\}`,
    "m",
  ).test(source);

const symbolProblem = (
  name: string,
  symbol: string,
  readSource: (path: string) => string | null,
): readonly string[] => {
  const [path = "", exported = ""] = symbol.split("#");
  if (!/^\w+$/.test(exported)) return [`claim "${name}": symbol "${symbol}" is not written as path#name`];
  const source = readSource(path);
  if (source === null) return [`claim "${name}": there is no file ${path} for symbol "${symbol}"`];
  return exportsName(source, exported) ? [] : [`claim "${name}": ${path} no longer exports ${exported}`];
};

/**
 * @returns one sentence per problem; empty if README, claims.toml, the run and the sources agree. Pure.
 * @param input.report without one, whether the tests passed is left out.
 */
export const checkClaims = (input: {
  readonly readme: string;
  /** Parsed claims.toml. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly report?: TestReport;
  readonly readSource: (path: string) => string | null;
}): readonly string[] => {
  const { report } = input;
  const outsideCode = input.readme.replaceAll(/^\s*(```|~~~)[\s\S]*?^\s*\1\s*$/gm, "");
  const marked = new Set([...outsideCode.matchAll(mark)].map((match) => match[1] ?? ""));
  const withoutEntry = [...marked].filter((name) => !Object.hasOwn(input.claims, name));
  const entries = Object.entries(input.claims).flatMap(([name, entry]) => {
    if (!marked.has(name)) return [`claims.toml: entry "${name}" has no mark in README.md`];
    const { tests, symbols } = { tests: undefined, symbols: undefined, ...(entry as object) };
    const [titles, paths] = [asTexts(tests), asTexts(symbols)];
    if (titles === null) return [`claim "${name}": tests must be a list of titles, not empty`];
    if (paths === null) return [`claim "${name}": symbols must be a list of path#name, not empty`];
    return [
      ...titles.flatMap((title) => (report === undefined ? [] : testProblem(name, title, report))),
      ...paths.flatMap((symbol) => symbolProblem(name, symbol, input.readSource)),
    ];
  });
  return [
    ...unmarked(input.readme),
    ...withoutEntry.map((name) => `README.md: mark "${name}" has no entry in claims.toml`),
    ...entries,
  ];
};

const readClaims = (): Readonly<Record<string, unknown>> => parse(readFileSync("claims.toml", "utf8"));

/** The same of this repository. Without a report what needs no run of the tests. */
export const checkRepository = (report?: TestReport): readonly string[] =>
  checkClaims({
    readme: readFileSync("README.md", "utf8"),
    claims: readClaims(),
    ...(report === undefined ? {} : { report }),
    readSource: (path) => (existsSync(path) ? readFileSync(path, "utf8") : null),
  });

const main = (): number => {
  const reportPath = process.env["TEST_REPORT"] ?? "build/tests.json";
  if (!existsSync(reportPath)) {
    process.stderr.write(`claims: no test report at ${reportPath}; run: npm test\n`);
    return 2;
  }
  const problems = checkRepository(JSON.parse(readFileSync(reportPath, "utf8")) as TestReport);
  for (const problem of problems) process.stderr.write(`claims: ${problem}\n`);
  if (problems.length === 0) process.stdout.write(`claims: ${Object.keys(readClaims()).length} proven\n`);
  return problems.length === 0 ? 0 : 1;
};

if (import.meta.main) process.exitCode = main();
