/**
 * What no tool checks about the sources: their opening comment, their purity, their names, and that no gate is muted.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import pure from "../../../tsconfig.pure.json" with { type: "json" };

const sourcesUnder = (folder: string): readonly string[] =>
  readdirSync(join(repository, folder), { recursive: true, encoding: "utf8" })
    .map((path) => `${folder}/${path.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts") && !path.includes("/generated/"));

const read = (path: string): string => readFileSync(join(repository, path), "utf8");
const openingOf = (path: string): string => /^(?:#!.*\n)?\/\*\*[\s\S]*?\*\//.exec(read(path))?.[0] ?? "";

const product = sourcesUnder("src");
const all = [...product, ...sourcesUnder("test"), ...sourcesUnder("scripts"), ...sourcesUnder("clients")];

const isListed = (path: string): boolean =>
  !pure.exclude.includes(path) &&
  pure.include.some((each) =>
    each.endsWith("/**/*.ts") ? path.startsWith(each.slice(0, -"**/*.ts".length)) : path === each,
  );

describe("the sources", () => {
  it("open with a comment that says what the file is", () => {
    expect(all.filter((path) => openingOf(path) === "")).to.deep.equal([]);
  });

  it("say that they are pure exactly when tsconfig.pure.json lists them", () => {
    const saysPure = (path: string): boolean => /\bPure[.:;,]/.test(openingOf(path));
    expect(product.filter((path) => saysPure(path) !== isListed(path))).to.deep.equal([]);
  });

  it("mute no gate", () => {
    const muted = new RegExp(
      ["(?:oxlint|eslint)-(?:dis|en)able", "@ts-(?:ignore|nocheck|expect-error)"].join("|"),
    );
    const muting = all.filter((path) => path !== "test/unit/house/sources.test.ts" && muted.test(read(path)));
    expect(muting).to.deep.equal([]);
  });

  it("write the beginnings of system records' ids in one file, and their tenant and space in one builder", () => {
    const place = "src/core/record/system.ts";
    const kinds = [...read(place).matchAll(/Prefix = "([a-z_]+)\//g)].map(([, kind]) => kind);
    expect(kinds).to.include.members(["principal", "witness", "suspension", "proposal"]);
    const byHand = new RegExp(
      `(?:"(?:${kinds.join("|")})/(?:key/)?"|\`(?:${kinds.join("|")})/\\$)|tenant: "system"`,
    );
    expect(product.filter((path) => path !== place && byHand.test(read(path)))).to.deep.equal([]);
  });

  it("hold no comment line of more than 120 columns", () => {
    const everywhere = [...all, ...sourcesUnder("bench"), ...sourcesUnder("examples")];
    const isLong = (line: string): boolean => line.length > 120 && /^\s*(?:\/\*|\*|\/\/)/.test(line);
    const long = everywhere.flatMap((path) =>
      read(path)
        .split("\n")
        .flatMap((line, index) => (isLong(line) ? [`${path}:${index + 1}`] : [])),
    );
    expect(long).to.deep.equal([]);
  });

  it("are named after the domain", () => {
    expect(all.filter((path) => /\b(?:utils?|helpers?|common|manager|misc)\b/.test(path))).to.deep.equal([]);
  });
});
