/** A rebuild gives back exactly what the ledger gives, or leaves a ledger that is refused. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { memoryAnchor } from "../../../src/ledger/append/anchor.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { familyRange, headKey, tileKey } from "../../../src/ledger/layout/keyspace.ts";
import { projections } from "../../../src/ledger/walk/projections.ts";
import type { StoreOp } from "../../../src/storage/store.ts";
import { createFaultyStore } from "../../contract/faulty-store.ts";
import { copyWorld, faultOf, openWorld, type World } from "../../contract/memory-ledger.ts";
import { swapStored } from "../../contract/tamper.ts";
import { buildInspected, damageCopy, put, summaryOf } from "./inspected-world.ts";

describe("fsck with a rebuild", () => {
  let whole: World;
  before(async () => {
    whole = (await buildInspected()).world;
  });

  const dump = (world: World) =>
    world.backing.entries.map(
      ([key, value]) => `${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`,
    );

  it("gives every projection back byte for byte, and the missing anchor", async () => {
    const world = await damageCopy(whole, async (store) => {
      for (const family of projections) {
        const ops: StoreOp[] = [];
        for await (const [key] of store.range(familyRange(family))) ops.push({ kind: "delete", key });
        await store.commit(ops.filter((_, index) => index % 3 !== 0));
      }
      await store.commit([
        ...put(headKey("acme", "user", "nobody"), new Uint8Array(16)),
        ...put(tileKey(5, 9n), new Uint8Array(32)),
      ]);
    });
    const options = { ...world.options, anchor: memoryAnchor() };
    expect((await runFsck(options)).ok).to.equal(false);
    expect(await runFsck(options, { rebuildIndexes: true })).to.include({ ok: true, total: 0 });
    expect(dump(world)).to.deep.equal(dump(whole));
    expect(await options.anchor.read()).to.equal(await whole.anchor.read());
    await using ledger = await openWorld(world);
    expect((await ledger.reader.readId("acme", "user", "v"))?.body.payload).to.equal(3);
  });

  it("that breaks off leaves a ledger that is refused until it has been repeated", async () => {
    for (const nth of [1, 3, 5]) {
      const world = await copyWorld(whole);
      const openStore = async () =>
        createFaultyStore(await world.options.openStore(), {
          operation: "commit",
          nth,
          when: "after",
          then: "fails",
        });
      const broken = runFsck({ ...world.options, openStore }, { rebuildIndexes: true });
      expect(await faultOf(broken)).to.include({ kind: "storeFailed" });
      expect(await faultOf(openWorld(world))).to.include({ kind: "ledgerCorrupt" });
      expect(await runFsck(world.options, { rebuildIndexes: true })).to.include({ ok: true });
      expect(dump(world)).to.deep.equal(dump(whole));
    }
  });

  it("never makes damage of the ledger itself look sound, and writes no anchor over it", async () => {
    const world = await damageCopy(whole, (store) => swapStored(store, 40n, 41n));
    const options = { ...world.options, anchor: memoryAnchor() };
    const report = await runFsck(options, { rebuildIndexes: true });
    expect(summaryOf(report)).to.deep.equal([
      [40n, "seal"],
      [41n, "seal"],
      [null, "anchor"],
    ]);
    expect(await options.anchor.read()).to.equal(undefined);
  });
});
