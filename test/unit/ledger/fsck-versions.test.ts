/** The inspection knows every entry of the version and the record index, and a rebuild adds them where they lack. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { concatBytes, u64be } from "../../../src/core/bytes.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { canonKey, familyRange, keyAfter, versionKey } from "../../../src/ledger/layout/keyspace.ts";
import type { Store, StoreOp } from "../../../src/storage/store.ts";
import { openWorld, withStore, type World } from "../../contract/memory-ledger.ts";
import { replaceStored } from "../../contract/tamper.ts";
import { buildInspected, damageCopy, drop, inspectedSize, put, summaryOf } from "./inspected-world.ts";

const tag = new Uint8Array(4);
const entry = (position: bigint): Uint8Array => concatBytes(u64be(position), tag);

const stored = async (store: Store, key: Uint8Array): Promise<Uint8Array> =>
  (await store.get(key)) ?? expect.fail("no entry");

describe("fsck of the version and the record index", () => {
  let whole: World;
  before(async () => {
    whole = (await buildInspected()).world;
  });

  // In the inspected ledger "v" has its versions at 300, 301 and 302; 304 is umbrella's; 1 to 299 are decisions.
  const v2 = versionKey("acme", "user", "v", 2n);
  const w301 = canonKey("acme", 301n);
  type Damage = {
    readonly name: string;
    readonly damage: (store: Store) => Promise<void>;
    readonly first: readonly [bigint | null, string];
  };
  const surplus = (name: string, key: Uint8Array, value: Uint8Array, step: string): Damage => ({
    name,
    damage: (store) => store.commit(put(key, value)),
    first: [null, step],
  });
  const damages: readonly Damage[] = [
    { name: "a missing version", damage: (store) => store.commit(drop(v2)), first: [301n, "version index"] },
    {
      name: "a version that names another one's record",
      damage: async (store) => {
        const kindTag = (await stored(store, v2)).subarray(8);
        await store.commit(put(v2, concatBytes(u64be(300n), kindTag)));
      },
      first: [301n, "version index"],
    },
    {
      name: "a version with another kind's tag",
      damage: (store) => store.commit(put(v2, entry(301n))),
      first: [301n, "version index"],
    },
    surplus("a version past the newest", versionKey("acme", "user", "v", 4n), entry(302n), "version index"),
    surplus("a version zero", versionKey("acme", "user", "v", 0n), entry(300n), "version index"),
    surplus(
      "a version of an id that is nobody's",
      versionKey("acme", "user", "x", 1n),
      entry(301n),
      "version index",
    ),
    surplus(
      "a version in another tenant",
      versionKey("umbrella", "user", "v", 2n),
      entry(301n),
      "version index",
    ),
    surplus("a version of a decision", versionKey("acme", "user", "d5", 1n), entry(5n), "version index"),
    surplus("a malformed version key", keyAfter(v2), entry(301n), "version index"),
    surplus(
      "a version past the end",
      versionKey("acme", "user", "v", 4n),
      entry(inspectedSize),
      "version index",
    ),
    { name: "a missing record", damage: (store) => store.commit(drop(w301)), first: [301n, "record index"] },
    {
      name: "a record with another kind's tag",
      damage: (store) => store.commit(put(w301, tag)),
      first: [301n, "record index"],
    },
    surplus("a decision among the records", canonKey("acme", 5n), tag, "record index"),
    surplus("another tenant's record", canonKey("umbrella", 301n), tag, "record index"),
    surplus("a record past the end", canonKey("acme", inspectedSize), tag, "record index"),
  ];

  for (const { name, damage, first } of damages) {
    it(`finds ${name}, and a rebuild mends it`, async () => {
      const world = await damageCopy(whole, damage);
      const report = await runFsck(world.options);
      expect(summaryOf(report)).to.deep.equal([first]);
      expect((await runFsck(world.options, { idsHeldMax: 0 })).ok).to.equal(false);
      expect(await runFsck(world.options, { rebuildIndexes: true })).to.include({ ok: true });
      expect(world.backing.entries).to.deep.equal(whole.backing.entries);
    });
  }

  it("builds every version again when it has forgotten every id", async () => {
    const world = await damageCopy(whole, (store) => store.commit(drop(v2)));
    const forgetful = { rebuildIndexes: true, idsHeldMax: 0 };
    expect(await runFsck(world.options, forgetful)).to.include({ ok: true });
    expect(world.backing.entries).to.deep.equal(whole.backing.entries);
  });

  it("blames a damaged record alone, not the entries that it cannot vouch for", async () => {
    const world = await damageCopy(whole, (store) => replaceStored(store, 303n, Uint8Array.of(1, 2, 3)));
    expect(summaryOf(await runFsck(world.options))).to.deep.equal([[303n, "seal"]]);
  });

  it("lists what a directory without these indexes lacks, and a rebuild adds it", async () => {
    const world = await damageCopy(whole, async (store) => {
      for (const family of ["v", "w"] as const) {
        const ops: StoreOp[] = [];
        for await (const [key] of store.range(familyRange(family))) ops.push({ kind: "delete", key });
        await store.commit(ops);
      }
    });
    const records = [0n, 300n, 301n, 302n, 303n, 304n, 305n];
    expect(summaryOf(await runFsck(world.options))).to.have.deep.members(
      records.flatMap((position) => [
        [position, "version index"],
        [position, "record index"],
      ]),
    );
    expect(await runFsck(world.options, { rebuildIndexes: true })).to.include({ ok: true });
    expect(world.backing.entries).to.deep.equal(whole.backing.entries);
    await using ledger = await openWorld(world);
    const below = await ledger.reader.versionBelow("acme", "user", "v", 302n);
    expect(below).to.deep.equal({ position: 301n, version: 2n });
  });

  it("holds one entry a record in each, none for a decision", async () => {
    await withStore(whole, async (store) => {
      for (const family of ["v", "w"] as const) {
        let count = 0;
        for await (const _ of store.range(familyRange(family))) count += 1;
        expect(count).to.equal(7);
      }
    });
  });
});
