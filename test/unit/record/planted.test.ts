/**
 * Bugs planted in a copy of the core, at least one for every rule of docs/spec/record.md §1: the vectors notice each.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { wrongGolden, wrongRefusals, wrongValues, type Codec } from "./value-vectors.ts";
import { readVectors } from "./vector-files.ts";

interface Planted {
  readonly rule: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const { rules } = readVectors<{ readonly rules: readonly { readonly id: string; readonly says: string }[] }>(
  "rules.json",
);
const planted = readVectors<readonly Planted[]>("planted/typescript.json");

/** Words only: without the marks of tables, code and bold, and however lines are broken. */
const words = (text: string): string =>
  text
    .replaceAll(/[`*]/g, "")
    .replaceAll(/\||-{3,}/g, " ")
    .replaceAll(/\s+/g, " ")
    .trim();

describe("the rules of canonical CBOR", () => {
  it("are the whole section of the specification, each word in one rule", () => {
    const page = readFileSync(join(repository, "docs/spec/record.md"), "utf8");
    const section = /## 1\. Canonical CBOR\n([\s\S]*?)\n## 2\./.exec(page)?.[1] ?? "";
    const body = words(section).replace("major type what is allowed ", "");
    expect(words(rules.map(({ says }) => says).join(" "))).to.equal(body);
  });

  it("have an id each, and a planted bug each", () => {
    const ids = rules.map(({ id }) => id);
    expect(new Set(ids).size).to.equal(ids.length);
    expect([...new Set(planted.map(({ rule }) => rule))]).to.have.members(ids);
  });
});

describe("the vectors notice a bug", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "sigil-planted-"));
    // For `#crypto` and the packages of the core.
    symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** The codec of a copy of the core, with a bug if one is given. */
  const codecWith = async (name: string, bug?: Planted): Promise<Codec> => {
    const copy = join(folder, name);
    cpSync(join(repository, "src/core"), join(copy, "src/core"), { recursive: true });
    if (bug !== undefined) {
      const text = readFileSync(join(copy, bug.file), "utf8");
      expect(text.split(bug.find), `${bug.find} in ${bug.file}`).to.have.length(2);
      writeFileSync(
        join(copy, bug.file),
        text.replace(bug.find, () => bug.replace),
      );
    }
    const { cborEncode: encode, cborDecode: decode } = (await import(
      pathToFileURL(join(copy, "src/core/cbor/cbor.ts")).href
    )) as {
      readonly cborEncode: Codec["encode"];
      readonly cborDecode: Codec["decode"];
    };
    return { encode, decode };
  };

  /** Counts the cases that fail, the cheap ones first and the others only if those notice nothing. */
  const noticed = (codec: Codec): number => {
    const wrong = [...wrongGolden(codec), ...wrongRefusals(codec)].length;
    return wrong > 0 ? wrong : wrongValues(codec).length;
  };

  it("and none in an unchanged copy", async () => {
    expect(noticed(await codecWith("unchanged"))).to.equal(0);
  });

  for (const [index, bug] of planted.entries()) {
    it(`in ${bug.rule}, row ${index + 1}: ${bug.file}`, async () => {
      expect(noticed(await codecWith(String(index), bug))).to.be.above(0);
    });
  }
});
