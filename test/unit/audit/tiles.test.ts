/** The published checkpoint: it moves at an interval, and nothing is given past it. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseCheckpoint, parseNote } from "../../../src/core/merkle/index.ts";
import { PublishedTiles } from "../../../src/audit/tiles.ts";
import { anonymous } from "../../../src/identity/caller.ts";
import { createWorld, faultOf, openWorld, userBody } from "../../contract/memory-ledger.ts";

const call = { signal: new AbortController().signal };

const openTiles = async (readers: "everybody" | "authenticated") => {
  const ledger = await openWorld(await createWorld());
  const clock = { nowMs: 0 };
  const tiles = new PublishedTiles(ledger.reader, {
    readers,
    intervalMs: 1000,
    monotonicMs: () => clock.nowMs,
  });
  const sizeShown = async (): Promise<bigint> => {
    const note = new TextDecoder().decode(await tiles.file(anonymous, "checkpoint", call));
    return parseCheckpoint(parseNote(note).text).size;
  };
  return { ledger, clock, tiles, sizeShown };
};

describe("published tiles", () => {
  it("move at the interval and not before, and give nothing of the records after their checkpoint", async () => {
    const { ledger, clock, tiles, sizeShown } = await openTiles("everybody");
    await using _ = ledger;
    const size = await sizeShown();
    expect(size).to.equal(ledger.reader.size);
    await ledger.append([userBody("a"), userBody("b")]);
    clock.nowMs = 999;
    expect(await sizeShown()).to.equal(size);
    const later = [`tile/0/000.p/${size + 1n}`, `tile/entries/000.p/${size + 2n}`];
    for (const path of later) {
      expect(await faultOf(tiles.file(anonymous, path, call)), path).to.deep.equal({
        kind: "notFound",
        what: "tile",
        id: path,
      });
    }
    clock.nowMs = 1000;
    expect(await sizeShown()).to.equal(size + 2n);
    expect((await tiles.file(anonymous, later[0] ?? "", call)).length).to.equal(32 * Number(size + 1n));
    expect((await tiles.file(anonymous, later[1] ?? "", call)).length).to.equal(34 * Number(size + 2n));
    // Of older checkpoints as well.
    expect((await tiles.file(anonymous, "tile/0/000.p/1", call)).length).to.equal(32);
  });

  it("are not there where the tree has none: empty, too wide, too high, too far", async () => {
    const { ledger, tiles } = await openTiles("everybody");
    await using _ = ledger;
    for (const path of [
      "tile/0/000",
      "tile/1/000.p/1",
      "tile/0/001.p/1",
      "tile/63/000.p/1",
      "tile/entries/000",
    ]) {
      expect(await faultOf(tiles.file(anonymous, path, call)), path).to.include({ kind: "notFound" });
    }
    for (const path of ["", "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "tile/00/000", "checkpoint/"]) {
      expect(await faultOf(tiles.file(anonymous, path, call)), path).to.include({ kind: "invalidField" });
    }
  });

  it("are not for anonymous callers unless they are published", async () => {
    const { ledger, tiles } = await openTiles("authenticated");
    await using _ = ledger;
    for (const path of ["checkpoint", "tile/0/000.p/1"]) {
      expect(await faultOf(tiles.file(anonymous, path, call))).to.include({ kind: "unauthenticated" });
    }
    const known = { ...anonymous, principal: "p", credential: "token" as const };
    expect((await tiles.file(known, "tile/0/000.p/1", call)).length).to.equal(32);
  });
});
