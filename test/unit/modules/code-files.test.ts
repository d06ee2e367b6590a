/** Code on disk: whole under its own digest, or said to be otherwise. */
import { sha256 } from "@sigil/core/hash";
import { mkdtemp, readdir, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { CodeFiles } from "../../../src/modules/code-files.ts";
import type { Hash } from "../../../src/core/bytes.ts";
import { moduleBytesMax } from "../../../src/limits.ts";

describe("code files", () => {
  let directory = "";
  let files: CodeFiles;
  const code = new Uint8Array([0, 97, 115, 109]);
  const digest = sha256(code);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-code-"));
    files = new CodeFiles(directory);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const digests = async (): Promise<readonly Hash[]> => {
    const found: Hash[] = [];
    for await (const each of files.digests()) found.push(each);
    return found;
  };

  it("give back what was put, from a file that only its owner may read", async () => {
    expect(await files.read(digest)).to.deep.equal({ kind: "missing" });
    expect(await digests()).to.deep.equal([]);
    await Promise.all([files.put(digest, code), files.put(digest, code)]);
    expect(await files.read(digest)).to.deep.equal({ kind: "whole", bytes: code });
    expect(await files.sizeOf(digest)).to.equal(code.length);
    expect(await digests()).to.deep.equal([digest]);
    expect((await stat(files.path(digest))).mode & 0o777).to.equal(0o600);
    expect(await readdir(join(directory, "modules"))).to.have.length(1);
  });

  it("notice one changed byte, also after they held", async () => {
    await files.put(digest, code);
    expect((await files.check(digest)).kind).to.equal("whole");
    const other = new Uint8Array([0, 97, 115, 110]);
    await writeFile(files.path(digest), other);
    expect(await files.check(digest)).to.deep.equal({ kind: "altered", found: sha256(other) });
    await files.put(digest, code);
    expect((await files.check(digest)).kind).to.equal("whole");
    await rm(files.path(digest));
    expect((await files.check(digest)).kind).to.equal("missing");
  });

  it("read nothing that is too large to be code, and follow no link", async () => {
    await files.put(digest, code);
    await truncate(files.path(digest), moduleBytesMax + 1);
    expect(await files.read(digest)).to.deep.equal({ kind: "altered", found: null });
    await rm(files.path(digest));
    await writeFile(join(directory, "elsewhere"), code);
    await symlink(join(directory, "elsewhere"), files.path(digest));
    const refused = await files.read(digest).catch((error: unknown) => String(error));
    expect(refused).to.include("store failed at read code");
  });

  it("replace what a crash left unfinished, and list nothing of it", async () => {
    await files.put(digest, code);
    await rm(files.path(digest));
    await writeFile(`${files.path(digest)}.new`, "half");
    expect(await digests()).to.deep.equal([]);
    await files.put(digest, code);
    expect((await files.read(digest)).kind).to.equal("whole");
    expect(await readdir(join(directory, "modules"))).to.have.length(1);
  });

  it("say that they cannot be written instead of losing anything", async () => {
    await files.put(digest, code);
    await rm(join(directory, "modules"), { recursive: true });
    await writeFile(join(directory, "modules"), "in the way");
    const refused = await files.put(digest, code).catch((error: unknown) => String(error));
    expect(refused).to.include("store failed");
  });
});
