/** Private files, what links in a data directory lead to, and whose it is. */
import { chmod, chown, lchown, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { SigilFault, type SigilError } from "../../../src/errors.ts";
import { isSwappable } from "../../../src/crypto/files/file-access.ts";
import { createPrivateFile, readPrivateFile } from "../../../src/crypto/files/private-file.ts";
import { checkPrivateTree } from "../../../src/crypto/files/private-tree.ts";

const errorOf = async (work: Promise<unknown>): Promise<SigilError | undefined> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof SigilFault) return error.error;
    throw error;
  }
};

describe("a private file", () => {
  it("leaves nothing behind where it could not be written, and is made where it can", async () => {
    const base = await mkdtemp(join(tmpdir(), "sigil-private-"));
    try {
      const path = join(base, "key.json");
      const broken = new Proxy(new Uint8Array(1), { get: () => undefined });
      const failed: unknown = await createPrivateFile(path, broken).catch((error: unknown) => error);
      expect(failed).to.be.instanceOf(Error);
      expect(await readdir(base)).to.deep.equal([]);
      await createPrivateFile(path, "whole");
      expect(await readdir(base)).to.deep.equal(["key.json"]);
      expect((await errorOf(createPrivateFile(path, "again")))?.kind).to.equal("usage");
    } finally {
      await rm(base, { recursive: true });
    }
  });
});

describe("links in a data directory", () => {
  let base: string;
  let data: string;
  let elsewhere: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), "sigil-links-"));
    [data, elsewhere] = [join(base, "data"), join(base, "elsewhere")];
    for (const path of [data, elsewhere, join(elsewhere, "ledger")]) await mkdir(path, { mode: 0o700 });
    await writeFile(join(elsewhere, "anchor"), "note", { mode: 0o600 });
    await writeFile(join(elsewhere, "ledger", "CURRENT"), "table", { mode: 0o600 });
    await symlink(join(elsewhere, "anchor"), join(data, "anchor"));
    await symlink("../elsewhere/ledger", join(data, "ledger"));
  });
  afterEach(() => rm(base, { recursive: true, force: true }));

  it("may lead to what is private", async () => {
    await checkPrivateTree(data);
    expect(Buffer.from(await readPrivateFile(join(data, "anchor"), "file")).toString()).to.equal("note");
  });

  it("may lead back into the directory", async () => {
    await symlink(".", join(data, "itself"));
    await checkPrivateTree(data);
  });

  it("are refused when the target is open to others: a file, a directory, a file in it", async () => {
    for (const [name, mode, right] of [
      ["anchor", 0o666, 0o600],
      ["ledger", 0o777, 0o700],
      ["ledger/CURRENT", 0o666, 0o600],
    ] as const) {
      const path = join(elsewhere, name);
      await chmod(path, mode);
      const error = await errorOf(checkPrivateTree(data));
      expect(error, name).to.include({ kind: "looseMode", path });
      await chmod(path, right);
    }
    await checkPrivateTree(data);
  });

  it("are refused when somebody else may exchange the target", async () => {
    await chmod(elsewhere, 0o777);
    const error = { kind: "looseMode", path: elsewhere, mode: "0777", fix: `chmod go-w ${elsewhere}` };
    expect(await errorOf(checkPrivateTree(data))).to.deep.equal(error);
    expect(await errorOf(readPrivateFile(join(data, "anchor"), "file"))).to.deep.equal(error);
    // Where only a file's owner may, as in /tmp.
    await chmod(elsewhere, 0o1777);
    await checkPrivateTree(data);
  });

  it("are refused when they lead nowhere, or round in a circle", async () => {
    await rm(join(data, "anchor"));
    for (const target of ["nothing", "anchor"]) {
      await symlink(target, join(data, "anchor"));
      expect(await errorOf(checkPrivateTree(data)), target).to.include({ kind: "notFound" });
      await rm(join(data, "anchor"));
    }
  });

  it("of somebody else, or to what is somebody else's, are refused", async function () {
    // Only root can give files away.
    if (process.geteuid?.() !== 0) return this.skip();
    const stranger = 54_321;
    for (const [path, give] of [
      [join(data, "anchor"), lchown],
      [join(elsewhere, "anchor"), chown],
      [join(elsewhere, "ledger"), chown],
      [elsewhere, chown],
    ] as const) {
      await give(path, stranger, 0);
      expect(await errorOf(checkPrivateTree(data)), path).to.include({
        kind: "foreignOwner",
        path,
        uid: stranger,
        fix: `chown -h 0 ${path}`,
      });
      await give(path, 0, 0);
    }
    await checkPrivateTree(data);
  });

  it("in the place of a file are no pipes", async () => {
    await rm(join(data, "anchor"));
    execFileSync("mkfifo", ["-m", "600", join(data, "anchor")]);
    expect(await errorOf(checkPrivateTree(data))).to.include({ kind: "notFound", id: join(data, "anchor") });
  });
});

describe("a directory in which a file may be exchanged", () => {
  const holder = { uid: 1000, gids: [1000, 2000] };
  for (const [mode, gid, expected] of [
    [0o755, 3000, false],
    [0o775, 2000, false],
    [0o775, 3000, true],
    [0o757, 2000, true],
    [0o1777, 3000, false],
  ] as const) {
    it(`of mode ${mode.toString(8)} and group ${gid}: ${expected ? "yes" : "no"}`, () => {
      expect(isSwappable({ mode: 0o040000 | mode, uid: 1000, gid }, holder)).to.equal(expected);
    });
  }
});
