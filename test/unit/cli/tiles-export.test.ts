/** Exports of a made-up log, read back by a reader of its own: every size, what came before, what does not fit. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { TilesDirectory } from "../../../src/cli/tiles/directory.ts";
import { TilesExport, type ReadTileFile } from "../../../src/cli/tiles/export.ts";
import { MadeUpLog, verifyTiledLog, type ReadFile } from "../../contract/tiled-log.ts";

describe("an export of tiles", () => {
  let path: string;
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "sigil-tiles-"));
  });
  afterEach(() => rm(path, { recursive: true }));

  const read: ReadFile = (file) => readFile(join(path, file)).catch(() => undefined);
  const sizeSeen = async (): Promise<number | undefined> => (await verifyTiledLog(read))?.size;

  /** One run of the command. @returns whether something was new. */
  const runOnce = async (from: ReadTileFile): Promise<boolean> => {
    await using directory = await TilesDirectory.open(path);
    const { signal } = new AbortController();
    const exported = await TilesExport.open({ directory, read: from, onProgress: () => {}, signal });
    return await exported.step();
  };
  const failing = (from: ReadTileFile): Promise<string> =>
    runOnce(from).then(String, (error) => error.message);

  it("goes on from any size to any other, and is what one run makes", async () => {
    const log = new MadeUpLog("a", 0);
    for (const size of [1, 2, 255, 256, 257, 511, 512, 513, 700, 2000]) {
      log.size = size;
      expect(await runOnce(log.read)).to.equal(true);
      expect(await sizeSeen(), String(size)).to.equal(size);
      expect(await runOnce(log.read)).to.equal(false);
    }
  });

  it("makes the tile of level 2 when there is one", async () => {
    const log = new MadeUpLog("a", 65_535);
    await runOnce(log.read);
    expect(await read("tile/2/000.p/1")).to.equal(undefined);
    log.size = 65_537;
    await runOnce(log.read);
    expect((await read("tile/2/000.p/1"))?.length).to.equal(32);
    expect(await sizeSeen()).to.equal(65_537);
  }).timeout(120_000);

  it("keeps partial tiles of published checkpoints until the full one is published, and no others", async () => {
    const log = new MadeUpLog("a", 0);
    for (log.size of [100, 200, 250]) await runOnce(log.read);
    expect((await readdir(join(path, "tile/0/000.p"))).toSorted()).to.deep.equal(["100", "200", "250"]);
    expect((await readdir(join(path, "tile/entries/000.p"))).toSorted()).to.deep.equal(["100", "200", "250"]);
    log.size = 300;
    await runOnce(log.read);
    expect((await readdir(join(path, "tile/0"))).toSorted()).to.deep.equal(["000", "001.p"]);
    expect((await readdir(join(path, "tile/entries"))).toSorted()).to.deep.equal(["000", "001.p"]);
    expect(await readdir(join(path, "tile/1"))).to.deep.equal(["000.p"]);
    expect((await readdir(path)).toSorted()).to.deep.equal([".sigil", "checkpoint", "tile"]);
  });

  it("publishes no checkpoint of a log that changed, shrank, or is another one", async () => {
    const log = new MadeUpLog("a", 300);
    await runOnce(log.read);
    const other = new MadeUpLog("b", 400);
    expect(await failing(other.read)).to.equal(
      "the log does not begin with the 300 entries that are exported",
    );
    other.size = 300;
    expect(await failing(other.read)).to.equal("the root at 300 entries is another one");
    log.size = 299;
    expect(await failing(log.read)).to.equal("the log has 299 entries, 300 are exported");
    const renamed: ReadTileFile = async (file) =>
      Buffer.from(
        Buffer.from(await log.read(file))
          .toString("latin1")
          .replace("made.up", "made.it"),
        "latin1",
      );
    expect(await failing(renamed)).to.equal("the log is made.it, what is exported is made.up");
    expect(await sizeSeen()).to.equal(300);
  });

  it("publishes no checkpoint that its entries do not have, wherever one is wrong, missing or too many", async () => {
    const log = new MadeUpLog("a", 600);
    const changed =
      (file: string, change: (bundle: Buffer) => Buffer): ReadTileFile =>
      async (asked) =>
        asked === file ? change(Buffer.from(await log.read(asked))) : log.read(asked);
    const flip = (bundle: Buffer): Buffer => {
      bundle.writeUInt8(bundle.readUInt8(34 * 50 + 2) ^ 1, 34 * 50 + 2);
      return bundle;
    };
    const wrong = /entries do not give the root of the checkpoint at 600/;
    expect(await failing(changed("tile/entries/001", flip))).to.match(wrong);
    // The full bundle was left behind: it is read again.
    expect(await failing(changed("tile/entries/002.p/88", flip))).to.match(wrong);
    const short = (bundle: Buffer): Buffer => bundle.subarray(34);
    expect(await failing(changed("tile/entries/002.p/88", short))).to.equal("a bundle of 88 entries has 87");
    expect(await sizeSeen()).to.equal(undefined);
    await runOnce(log.read);
    expect(await sizeSeen()).to.equal(600);
  });

  it("takes bundles that a killed run left, and reads them again if they are of another log", async () => {
    const log = new MadeUpLog("a", 1000);
    const asked: string[] = [];
    const broken: ReadTileFile = async (file) => {
      if (file === "tile/entries/003.p/232") throw new Error("killed");
      return log.read(file);
    };
    expect(await failing(broken)).to.equal("killed");
    const listening: ReadTileFile = (file) => {
      asked.push(file);
      return log.read(file);
    };
    await runOnce(listening);
    expect(asked).to.deep.equal(["checkpoint", "tile/entries/003.p/232"]);
    expect(await sizeSeen()).to.equal(1000);
    await rm(join(path, "checkpoint"));
    const other = new MadeUpLog("b", 900);
    await runOnce(other.read);
    expect(await sizeSeen()).to.equal(900);
  });

  it("sees that what it goes on from is damaged, and refuses to go on", async () => {
    const log = new MadeUpLog("a", 700);
    await runOnce(log.read);
    log.size = 800;
    const path1 = "tile/1/000.p/2";
    const tile = (await read(path1)) ?? Buffer.alloc(0);
    await writeFile(
      join(path, path1),
      tile.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
    );
    expect(await failing(log.read)).to.match(/does not begin with the 700 entries/);
    await rm(join(path, path1));
    expect(await failing(log.read)).to.equal("tile/1/000.p/2 is missing from the export");
  });

  it("is made by one process at a time", async () => {
    await using _ = await TilesDirectory.open(path);
    expect(await failing(new MadeUpLog("a", 1).read)).to.match(/process \d+ is writing it/);
  });
});
