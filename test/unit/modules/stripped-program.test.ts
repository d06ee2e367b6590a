/** A sandbox program without its types: made once, found again, made anew when a source changes. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { strippedProgram } from "../../../src/modules/sandbox/stripped-program.ts";

const sources = {
  "program.ts":
    'import { sep } from "node:path";\nimport type { None } from "./none.ts";\nimport {\n  one,\n  type Two,\n} from "./room/one.ts";\n' +
    "const said: Two & { none?: None } = { two: one };\nconsole.log(JSON.stringify(said), sep);\n",
  "room/one.ts": 'export { one } from "../other/one.ts";\nexport type Two = { readonly two: number };\n',
  "other/one.ts": "export const one: number = 1;\n",
};

describe("a sandbox program without its types", () => {
  let root: string;
  let folder: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sigil-stripped-"));
    folder = join(root, "build/stripped");
    for (const room of ["room", "other"]) mkdirSync(join(root, room));
    for (const [path, text] of Object.entries(sources)) writeFileSync(join(root, path), text);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const strip = () => strippedProgram(join(root, "program.ts"), root, folder);

  it("does what its sources do, reads its own directory alone and no TypeScript", () => {
    const { path = "", directory = "" } = strip() ?? {};
    const flags = ["--permission", `--allow-fs-read=${directory}/`, "--no-experimental-strip-types"];
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, path], { encoding: "utf8" });
    expect([stderr, stdout]).to.deep.equal(["", '{"two":1} /\n']);
  });

  it("is made once, and anew when anything changes that it imports", () => {
    const first = strip();
    const madeMs = statSync(first?.path ?? "").mtimeMs;
    expect(strip()).to.deep.equal(first);
    expect(statSync(first?.path ?? "").mtimeMs).to.equal(madeMs);
    writeFileSync(join(root, "other/one.ts"), "export const one: number = 2;\n");
    expect(strip()?.directory).to.not.equal(first?.directory);
    expect(readdirSync(folder)).to.have.length(2);
  });

  it("is not to be had where its folder cannot be written, and leaves the sources to be run", () => {
    writeFileSync(join(root, "build"), "");
    expect(strip()).to.equal(null);
  });

  it("leaves nothing unfinished behind where it cannot be made whole", () => {
    // An enum is more than a type: Node does not strip it.
    writeFileSync(join(root, "other/one.ts"), "export enum one {}\n");
    expect(strip()).to.equal(null);
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it("says nothing of how it was made", () => {
    const maker = import.meta.resolve("../../../src/modules/sandbox/stripped-program.ts");
    const given = [join(root, "program.ts"), root, folder].map((path) => JSON.stringify(path)).join(", ");
    const text = `import { strippedProgram } from "${maker}"; strippedProgram(${given});`;
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", text], { encoding: "utf8" });
    expect(stderr).to.equal("");
    expect(readdirSync(folder)).to.have.length(1);
  });
});
