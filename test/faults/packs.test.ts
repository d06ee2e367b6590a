/** An export of an evidence pack that does not come to its end leaves nothing that looks like one. */
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import { PackDirectory } from "../../src/cli/pack/directory.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";
import { running } from "../e2e/command.ts";
import { PackWorld } from "../e2e/pack-world.ts";

describe("an export of an evidence pack", function () {
  this.slow(20_000);
  this.timeout(60_000);

  it("on a disk that is full leaves nothing, and is whole once there is room", async function () {
    await using disk = await mountDisk(4 << 20);
    skipWithoutDisk(disk, this);
    await using world = await PackWorld.open();
    await world.fill();
    await disk.fill(8 << 10);
    const pack = join(disk.path, "pack");
    const span = ["--from", world.from.toISOString(), "--to", world.to.toISOString()];
    const words = [
      "audit",
      "export",
      ...span,
      "--key",
      "observer.pem",
      "--principal",
      "observer",
      "--out",
      pack,
    ];
    const full = await world.run(...words);
    expect([full.exitCode, full.output]).to.deep.equal([2, ""]);
    expect(full.problems).to.include("cannot be written: ENOSPC");
    expect(await readdir(disk.path)).to.deep.equal(["ballast"]);
    await disk.makeRoom();
    expect((await world.run(...words)).exitCode).to.equal(0);
    expect(await readdir(disk.path)).to.deep.equal(["pack"]);
    expect((await world.run("verify", pack, "--genesis", await world.genesis())).exitCode).to.equal(0);
  });

  it("that is interrupted while a server does not answer leaves nothing", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-pack-held-"));
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await once(silent, "listening");
    try {
      const { port } = silent.address() as AddressInfo;
      const words = ["audit", "export", "--out", "pack", "--server", `127.0.0.1:${port}`];
      await using held = running(words, { cwd });
      while ((await readdir(cwd)).length === 0) await pause(20);
      expect((await readdir(cwd)).join()).to.match(/^\.pack\.unfinished-\d+-1$/);
      expect(await held.end("SIGINT")).to.equal(2);
      expect(held.said()).to.include("interrupted, and nothing was written");
      expect(await readdir(cwd)).to.deep.equal([]);
    } finally {
      silent.close();
      await rm(cwd, { recursive: true, force: true });
    }
  });

  it("replaces an empty directory, and none that was filled meanwhile", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-pack-rename-"));
    const pack = join(cwd, "pack");
    try {
      await mkdir(pack);
      await using directory = await PackDirectory.create(pack);
      await directory.close(await directory.open("proof"));
      await writeFile(join(pack, "mine"), "");
      const failed = await directory.publish("{}").then(
        () => "",
        (error: Error) => error.message,
      );
      expect(failed).to.match(/cannot be written: E(NOTEMPTY|EXIST)/);
      expect(await readdir(pack)).to.deep.equal(["mine"]);
      await rm(join(pack, "mine"));
      await directory.publish("{}");
      expect((await readdir(pack)).toSorted()).to.deep.equal(["manifest.json", "proof"]);
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });
});
