/** The inspection finds every kind of damage and names where. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { u64be, utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { memoryAnchor } from "../../../src/ledger/append/anchor.ts";
import {
  inspectPinned,
  runFsck,
  type FsckOptions,
  type FsckProgress,
  type FsckReport,
} from "../../../src/ledger/fsck/fsck.ts";
import { formatGroup, parseGroup } from "../../../src/ledger/layout/group.ts";
import {
  decisionTailKey,
  expiryKey,
  groupKey,
  hashKey,
  headKey,
  idempotencyKey,
  rebuildingKey,
  recordKey,
  sealCountKey,
  tileKey,
} from "../../../src/ledger/layout/keyspace.ts";
import { Ledger } from "../../../src/ledger/ledger.ts";
import { storeAt } from "../../../src/ledger/walk/pinned.ts";
import type { Store } from "../../../src/storage/store.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  faultOf,
  newSigner,
  openWorld,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";
import {
  flipsOf,
  readStored,
  removeStored,
  renameTenant,
  replaceStored,
  swapStored,
} from "../../contract/tamper.ts";
import { createFaultyStore } from "../../contract/faulty-store.ts";
import { buildInspected, damageCopy, drop, inspectedSize, put, summaryOf } from "./inspected-world.ts";

const size = inspectedSize;

const findGroup = async (store: Store, first: bigint) => {
  const bytes = await store.get(groupKey(first));
  if (bytes === undefined) throw new Error(`no group begins at ${first}`);
  return parseGroup(first, bytes);
};
describe("fsck", () => {
  let whole: World;
  let hashes: readonly Hash[];
  before(async () => {
    ({ world: whole, hashes } = await buildInspected());
  });

  const inspect = async (damage: (store: Store) => Promise<void>, fsck?: FsckOptions): Promise<FsckReport> =>
    runFsck((await damageCopy(whole, damage)).options, fsck);

  /** Done to the disk of a ledger that is served. */
  const inspectLive = async (damage: (store: Store) => Promise<void>): Promise<FsckReport> => {
    const { options } = await copyWorld(whole);
    const served = Promise.withResolvers<Store>();
    const openStore = async (): Promise<Store> => {
      const store = await options.openStore();
      served.resolve(store);
      return store;
    };
    await using ledger = await Ledger.open({ ...options, openStore });
    await damage(await served.promise);
    await using pinned = await ledger.pin();
    return await inspectPinned(pinned, () => undefined);
  };

  it("finds nothing in a sound ledger, and reads all of it", async () => {
    const seen: FsckProgress[] = [];
    const report = await runFsck(whole.options, { onProgress: (progress) => seen.push(progress) });
    expect(report).to.deep.equal({ ok: true, size, problems: [], total: 0, first: undefined, erased: [] });
    expect(seen.at(-1)).to.deep.equal({ step: "indexes", done: size, total: size });
    expect(seen.filter(({ step }) => step === "records").length).to.equal(8);
  });

  it("names the position of any one flipped byte of a record", async () => {
    const stored = await withStore(whole, (store) => readStored(store, 123n));
    const flips = [...flipsOf(stored)];
    for (const flip of flips.filter((_, index) => index % 251 === 0 || index < 6)) {
      const report = await inspect((store) => replaceStored(store, 123n, flip.bytes));
      expect(report.ok).to.equal(false);
      expect(summaryOf(report), `byte ${flip.offset}`).to.deep.equal([[123n, "seal"]]);
    }
  });

  it("lists several damaged records by position, and nothing that is sound", async () => {
    const report = await inspect(async (store) => {
      await swapStored(store, 200n, 20n);
      await replaceStored(store, 7n, renameTenant(await readStored(store, 7n), "umbrella"));
    });
    expect(report.first).to.include({ position: 7n, step: "seal" });
    expect(summaryOf(report)).to.deep.equal([
      [7n, "seal"],
      [20n, "seal"],
      [200n, "seal"],
    ]);
  });

  it("refuses a record of another deployment with the same keys at the same position", async () => {
    const { recordSigner, checkpointSigner, dataKeys, indexKey } = whole.options;
    const keys = { recordSigner, checkpointSigner, dataKeys, indexKey };
    const other = await createWorld({ ...keys, origin: "other.test" });
    const ledger = await openWorld(other);
    await ledger.append([decisionBody("d1")]);
    await ledger.close();
    const foreign = await withStore(other, (store) => readStored(store, 1n));
    const report = await inspect((store) => replaceStored(store, 1n, foreign));
    expect(summaryOf(report)).to.deep.equal([[1n, "seal"]]);
  });

  it("sees a well-sealed record that is signed by a stranger", async () => {
    const { checkpointSigner, dataKeys, indexKey, genesis } = whole.options;
    const world = await copyWorld(whole);
    // The same disk, sealed with the same keys, but a forger's record key: only the signature can tell.
    const forger = await createWorld({ checkpointSigner, dataKeys, indexKey });
    const ledger = await openWorld(forger);
    await ledger.append([decisionBody("forged")]);
    await ledger.close();
    const forged = await withStore(forger, (store) => readStored(store, 1n));
    await withStore(world, (store) => replaceStored(store, 1n, forged));
    const report = await runFsck({ ...world.options, genesis });
    expect(report.first).to.include({ position: 1n, step: "key" });
    expect(summaryOf(report)).to.deep.include([1n, "leaf"]);
  });

  it("sees a record whose key is right and whose signature is not", async () => {
    const real = newSigner();
    let spoiled = false;
    const recordSigner = {
      ...real,
      sign: (message: Uint8Array) => real.sign(spoiled ? message.subarray(1) : message),
    };
    const world = await createWorld({ recordSigner });
    const ledger = await openWorld(world);
    await ledger.append([decisionBody("good")]);
    spoiled = true;
    await ledger.append([decisionBody("bad")]);
    expect(await faultOf(ledger.reader.readAt(2n))).to.include({ kind: "recordCorrupt", step: "signature" });
    await ledger.close();
    expect(summaryOf(await runFsck(world.options))).to.deep.equal([[2n, "signature"]]);
  });

  type Damage = {
    readonly name: string;
    readonly damage: (store: Store) => Promise<void>;
    readonly first: readonly [bigint | null, string];
  };
  const damages = (): readonly Damage[] => [
    { name: "a missing record", damage: (store) => removeStored(store, 210n), first: [210n, "sequence"] },
    {
      name: "a missing last record",
      damage: (store) => removeStored(store, 305n),
      first: [305n, "sequence"],
    },
    {
      name: "a record past the end",
      damage: async (store) => replaceStored(store, size, await readStored(store, 1n)),
      first: [size, "sequence"],
    },
    {
      name: "a missing group entry",
      damage: (store) => store.commit(drop(groupKey(150n))),
      first: [150n, "group"],
    },
    {
      name: "a group entry past every record",
      damage: async (store) => {
        const last = await findGroup(store, 305n);
        await store.commit(put(groupKey(2n ** 63n), formatGroup(last)));
      },
      first: [2n ** 63n, "group"],
    },
    {
      name: "a malformed group entry",
      damage: (store) => store.commit(put(groupKey(150n), Uint8Array.of(0xff))),
      first: [150n, "group"],
    },
    {
      name: "other leaves in a group entry",
      damage: async (store) => {
        const group = await findGroup(store, 150n);
        await store.commit(put(groupKey(150n), formatGroup({ ...group, leaves: group.leaves.toReversed() })));
      },
      first: [150n, "leaf"],
    },
    {
      name: "a checkpoint signed by a stranger",
      damage: async (store) => {
        const group = await findGroup(store, 305n);
        const root = sha256(new Uint8Array(1));
        const claim = { origin: whole.options.origin, size, root };
        const checkpoint = await signCheckpoint(claim, newSigner());
        await store.commit(put(groupKey(305n), formatGroup({ ...group, checkpoint })));
      },
      first: [305n, "checkpoint"],
    },
    {
      name: "a checkpoint over another root",
      damage: async (store) => {
        const group = await findGroup(store, 305n);
        const root = sha256(new Uint8Array(1));
        const claim = { origin: whole.options.origin, size, root };
        const checkpoint = await signCheckpoint(claim, whole.options.checkpointSigner);
        await store.commit(put(groupKey(305n), formatGroup({ ...group, checkpoint })));
      },
      first: [305n, "root"],
    },
    {
      name: "a changed tile",
      damage: (store) => store.commit(put(tileKey(0, 0n), new Uint8Array(8192))),
      first: [299n, "tile"],
    },
    {
      name: "a missing tile root",
      damage: (store) => store.commit(drop(tileKey(1, 0n))),
      first: [299n, "tile"],
    },
    {
      name: "a surplus tile",
      damage: (store) => store.commit(put(tileKey(0, 1n), new Uint8Array(8192))),
      first: [null, "tile"],
    },
    {
      name: "an id index that names an older version",
      damage: async (store) => {
        const older = new Uint8Array([...u64be(301n), ...u64be(2n)]);
        await store.commit(put(headKey("acme", "user", "v"), older));
      },
      first: [302n, "id index"],
    },
    {
      name: "a missing id",
      damage: (store) => store.commit(drop(headKey("acme", "user", "keyed"))),
      first: [303n, "id index"],
    },
    {
      name: "a surplus id",
      damage: (store) =>
        store.commit(put(headKey("acme", "user", "nobody"), new Uint8Array([...u64be(5n), ...u64be(1n)]))),
      first: [null, "id index"],
    },
    {
      name: "a missing hash",
      damage: (store) => store.commit(drop(hashKey(hashes[9] as Hash))),
      first: [10n, "hash index"],
    },
    {
      name: "a surplus hash",
      damage: (store) => store.commit(put(hashKey(sha256(new Uint8Array(2))), u64be(5n))),
      first: [null, "hash index"],
    },
    {
      name: "a missing decision",
      damage: (store) => store.commit(drop(decisionTailKey("acme", 149))),
      first: [150n, "decision index"],
    },
    {
      name: "a changed decision entry",
      damage: (store) => store.commit(put(decisionTailKey("acme", 149), new Uint8Array(60))),
      first: [null, "decision index"],
    },
    {
      name: "another tenant's decision entry",
      damage: (store) => store.commit(put(decisionTailKey("umbrella", 8), new Uint8Array(60))),
      first: [null, "decision index"],
    },
    {
      name: "a damaged idempotency entry",
      damage: (store) => store.commit(put(idempotencyKey(new Uint8Array(16)), Uint8Array.of(1))),
      first: [null, "idempotency"],
    },
    {
      name: "an expiry without its entry",
      damage: (store) => store.commit(put(expiryKey(5, new Uint8Array(16)), new Uint8Array(0))),
      first: [null, "idempotency"],
    },
    {
      name: "too low a count of seals",
      damage: (store) => store.commit(put(sealCountKey("acme", 1), u64be(3n))),
      first: [null, "seal count"],
    },
    {
      name: "a stranger",
      damage: (store) => store.commit(put(utf8Encode("zz"), new Uint8Array(1))),
      first: [null, "stranger"],
    },
    {
      name: "an interrupted rebuild",
      damage: (store) => store.commit(put(rebuildingKey, new Uint8Array(0))),
      first: [null, "rebuild"],
    },
    {
      name: "a malformed key",
      damage: (store) => store.commit(put(Uint8Array.of(...recordKey(4n), 0), new Uint8Array(1))),
      first: [null, "sequence"],
    },
  ];

  for (const { name, damage, first } of damages()) {
    it(`finds ${name}`, async () => {
      const report = await inspect(damage);
      expect(report.ok).to.equal(false);
      expect([report.first?.position, report.first?.step], JSON.stringify(report.first?.rule)).to.deep.equal(
        first,
      );
      expect(report.total, JSON.stringify(summaryOf(report).map(String))).to.be.lessThan(3);
    });

    it(`finds ${name} with threads as without`, async () => {
      const { options } = await damageCopy(whole, damage);
      const alone = await runFsck(options, { threads: 0 });
      expect(await runFsck(options, { threads: 1, threadRecords: 16 })).to.deep.equal(alone);
    });

    it(`finds ${name} on the disk of a ledger that is served`, async () => {
      const report = await inspectLive(damage);
      expect([report.first?.position, report.first?.step], JSON.stringify(report.first?.rule)).to.deep.equal(
        first,
      );
    });
  }

  it("finds nothing in a sound ledger that is served, and nothing but that moment of it", async () => {
    await using ledger = await openWorld(await copyWorld(whole));
    await using pinned = await ledger.pin();
    await ledger.append([decisionBody("later"), decisionBody("later-still")]);
    const report = await inspectPinned(pinned, () => undefined);
    expect(report).to.deep.equal({ ok: true, size, problems: [], total: 0, first: undefined, erased: [] });
    expect(pinned.size).to.equal(size);
    await using later = await ledger.pin();
    expect(await inspectPinned(later, () => undefined)).to.include({ ok: true, size: size + 2n });
  });

  it("writes nothing to a ledger that is served, and ends when keys are about to go", async () => {
    await using ledger = await openWorld(await copyWorld(whole));
    await using pinned = await ledger.pin();
    const doomed = { ...pinned, signal: AbortSignal.abort() };
    expect(await faultOf(inspectPinned(doomed, () => undefined))).to.include({ kind: "notServing" });
    const store = storeAt(pinned, () => undefined);
    expect(await faultOf(store.commit(drop(rebuildingKey)))).to.include({ kind: "storeFailed" });
    expect(ledger.status).to.deep.equal({ kind: "serving" });
  });

  it("misses no damage when it has forgotten every id", async () => {
    expect(await inspect(async () => {}, { idsHeldMax: 0 })).to.include({ ok: true, total: 0 });
    for (const { name, damage } of damages()) {
      expect((await inspect(damage, { idsHeldMax: 0 })).ok, name).to.equal(false);
    }
  });

  it("finds an anchor that is missing, forged, ahead, or over another tree", async () => {
    const { origin, checkpointSigner } = whole.options;
    const root = sha256(new Uint8Array(1));
    const notes = [
      undefined,
      "nonsense",
      await signCheckpoint({ origin, size, root }, newSigner()),
      await signCheckpoint({ origin, size: size + 1n, root }, checkpointSigner),
      await signCheckpoint({ origin, size, root }, checkpointSigner),
      await signCheckpoint({ origin, size: 10n, root }, checkpointSigner),
    ];
    for (const note of notes) {
      const anchor = memoryAnchor();
      if (note !== undefined) await anchor.write(note);
      const world = await copyWorld(whole);
      expect(summaryOf(await runFsck({ ...world.options, anchor }))).to.deep.equal([[null, "anchor"]]);
    }
  });

  it("finds another genesis record, and an empty store", async () => {
    const world = await copyWorld(whole);
    const other = await createWorld();
    const report = await runFsck({ ...world.options, genesis: other.options.genesis });
    expect(report.first).to.include({ position: 0n, step: "genesis" });
    world.backing.entries = [];
    const empty = await runFsck(world.options);
    expect(empty).to.include({ ok: false, size: 0n });
  });

  it("throws what kept it from running: a locked store, a broken one, a cancellation", async () => {
    const world = await copyWorld(whole);
    await withStore(world, async () => {
      expect(await faultOf(runFsck(world.options))).to.include({ kind: "storeLocked" });
    });
    const openStore = async () =>
      createFaultyStore(await world.options.openStore(), {
        operation: "getMany",
        nth: 1,
        when: "before",
        then: "works",
      });
    expect(await faultOf(runFsck({ ...world.options, openStore }))).to.include({ kind: "storeFailed" });
    const cancelled = runFsck(world.options, { signal: AbortSignal.abort() });
    expect(await faultOf(cancelled)).to.deep.equal({ kind: "cancelled" });
    expect((await runFsck(world.options)).ok).to.equal(true);
  });
});
