/** Export and import: what goes out is a ledger's whole truth at one size, and only such comes in. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { u64be, type Hash } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborMap } from "../../../src/core/cbor/cbor.ts";
import { memoryAnchor } from "../../../src/ledger/append/anchor.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { importEntries, PassageCheck } from "../../../src/ledger/copy/import.ts";
import { groupKey, recordKey } from "../../../src/ledger/layout/keyspace.ts";
import type { LedgerExport } from "../../../src/ledger/copy/export.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../../src/core/merkle/tree.ts";
import { createMemoryBacking, openMemoryStore } from "../../../src/storage/memory.ts";
import type { StoreEntry } from "../../../src/storage/store.ts";
import { decisionBody, faultOf, openWorld, withStore, type World } from "../../contract/memory-ledger.ts";
import { buildInspected, damageCopy, inspectedSize, put } from "./inspected-world.ts";

const origin = "ledger.test";

type Taken = {
  readonly size: bigint;
  readonly groups: readonly (readonly StoreEntry[])[];
  readonly bookkeeping: readonly StoreEntry[];
};

const take = async (exported: LedgerExport): Promise<Taken> => {
  const groups: (readonly StoreEntry[])[] = [];
  const bookkeeping: StoreEntry[] = [];
  for await (const { entries } of exported.groups()) groups.push(entries);
  for await (const entry of exported.bookkeeping()) bookkeeping.push(entry);
  return { size: exported.size, groups, bookkeeping };
};

const exportOf = async (world: World, from = 0n): Promise<Taken> => {
  await using ledger = await openWorld(world);
  await using exported = await ledger.reader.export(from);
  return await take(exported);
};

/** A world with the same keys whose disk is what was imported. */
const imported = async (world: World, entries: readonly StoreEntry[]): Promise<World> => {
  const backing = createMemoryBacking();
  const anchor = memoryAnchor();
  const options = { ...world.options, anchor, openStore: () => openMemoryStore(backing) };
  const copy = { backing, anchor, options, timeMs: world.timeMs };
  await withStore(copy, (store) => importEntries(store, entries));
  return copy;
};

describe("an export", () => {
  let world: World;
  let whole: Taken;
  let entries: readonly StoreEntry[];
  before(async () => {
    ({ world } = await buildInspected());
    whole = await exportOf(world);
    entries = whole.groups.flat();
  });

  it("holds everything a ledger without a flaw is made of", async () => {
    expect(whole.size).to.equal(inspectedSize);
    const copy = await imported(world, [...entries, ...whole.bookkeeping]);
    const report = await runFsck(copy.options, { rebuildIndexes: true });
    expect(report.problems).to.deep.equal([]);
    expect(report.size).to.equal(inspectedSize);
    expect(copy.backing.entries.length).to.equal(world.backing.entries.length);
  });

  it("begins at the end of any group, and nowhere else", async () => {
    const sizes = whole.groups.map((group) => BigInt(group.length - 1));
    let from = 0n;
    for (const [index, size] of sizes.entries()) {
      const rest = await exportOf(world, from);
      expect(rest.groups).to.deep.equal(whole.groups.slice(index));
      from += size;
    }
    expect((await exportOf(world, inspectedSize)).groups).to.deep.equal([]);
    expect((await faultOf(exportOf(world, inspectedSize + 1n)))?.kind).to.equal("sizeOutOfRange");
    expect((await faultOf(exportOf(world, 2n)))?.kind).to.equal("invalidField");
  });

  it("stands still while the ledger goes on", async () => {
    const copy = await damageCopy(world, async () => {});
    await using ledger = await openWorld(copy);
    await using exported = await ledger.reader.export(0n);
    await ledger.append([decisionBody("after")]);
    const taken = await take(exported);
    expect(taken.size).to.equal(inspectedSize);
    expect(taken.groups).to.deep.equal(whole.groups);
    expect(taken.bookkeeping).to.deep.equal(whole.bookkeeping);
  });

  it("stops at a record that does not open, and at one that is another's", async () => {
    const flipped = await damageCopy(world, async (store) => {
      const sealed = (await store.get(recordKey(20n))) ?? new Uint8Array(0);
      sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 1;
      await store.commit(put(recordKey(20n), sealed));
    });
    expect(await faultOf(exportOf(flipped))).to.include({ kind: "recordCorrupt", position: 20n });
    const other = await damageCopy(world, async (store) => {
      const group = cborDecode((await store.get(groupKey(1n))) ?? new Uint8Array(0)) as CborMap;
      const leaves = Uint8Array.from(group["leaves"] as Uint8Array);
      leaves[0] = (leaves[0] ?? 0) ^ 1;
      await store.commit(put(groupKey(1n), cborEncode({ ...group, leaves })));
    });
    expect(await faultOf(exportOf(other))).to.include({ kind: "recordCorrupt", position: 1n, step: "leaf" });
  });

  describe("on its way in", () => {
    const pass = (given: readonly StoreEntry[], watchedSizes: readonly bigint[] = []): PassageCheck => {
      const check = new PassageCheck({ origin, frontier: emptyFrontier, watchedSizes });
      for (const entry of given) check.add(entry);
      return check;
    };
    const refusal = (given: readonly StoreEntry[]) =>
      faultOf(
        (async () => {
          const check = pass(given);
          if (!check.isWhole) throw new Error("something is missing");
        })(),
      ).catch((error: unknown) => (error instanceof Error ? { kind: error.message } : undefined));
    const changedGroup = (index: number, change: (group: CborMap) => CborMap): readonly StoreEntry[] => {
      const at = entries.indexOf(whole.groups[index]?.[0] as StoreEntry);
      return entries.map((entry, place) =>
        place === at ? ([entry[0], cborEncode(change(cborDecode(entry[1]) as CborMap))] as const) : entry,
      );
    };

    it("passes as it is", () => {
      const check = pass(entries);
      expect([check.size, check.isWhole]).to.deep.equal([inspectedSize, true]);
    });

    const faults: Readonly<Record<string, () => readonly StoreEntry[]>> = {
      "a record left out": () => entries.toSpliced(5, 1),
      "a record twice": () => entries.toSpliced(5, 0, entries[5] as StoreEntry),
      "two records exchanged": () =>
        entries.toSpliced(5, 2, entries[6] as StoreEntry, entries[5] as StoreEntry),
      "a group's entry left out": () => entries.toSpliced(2, 1),
      "the end left out": () => entries.slice(0, -1),
      "a record past its group": () => [...entries, [recordKey(inspectedSize), u64be(0n)]],
      "an index entry": () => [...entries, [Uint8Array.of(0x69, 1), u64be(0n)]],
      "another leaf": () =>
        changedGroup(1, (group) => {
          const leaves = Uint8Array.from(group["leaves"] as Uint8Array);
          leaves[40] = (leaves[40] ?? 0) ^ 1;
          return { ...group, leaves };
        }),
      "the checkpoint of another size": () =>
        changedGroup(2, (group) => ({
          ...group,
          checkpoint: (cborDecode(whole.groups[1]?.[0]?.[1] ?? new Uint8Array(0)) as CborMap)[
            "checkpoint"
          ] as string,
        })),
      "the checkpoint of another origin": () =>
        changedGroup(1, (group) => ({
          ...group,
          checkpoint: (group["checkpoint"] as string).replace(/^ledger\.test\n/, "ledger.tess\n"),
        })),
    };
    for (const [name, given] of Object.entries(faults)) {
      it(`refuses ${name}`, async () => {
        expect(await refusal(given())).to.not.equal(undefined);
      });
    }

    it("tells the root of any earlier size, also inside a group", () => {
      const leaves: Hash[] = [];
      for (const [[, value]] of whole.groups as readonly (readonly [StoreEntry])[]) {
        const bytes = (cborDecode(value) as CborMap)["leaves"] as Uint8Array;
        for (let at = 0; at < bytes.length; at += 32) leaves.push(bytes.slice(at, at + 32) as Hash);
      }
      for (const size of [1, 2, 77, 150, 299, 300, Number(inspectedSize)]) {
        const expected = rootOf(appendLeaves(emptyFrontier, leaves.slice(0, size)).frontier);
        const { watchedRoots } = pass(entries, [BigInt(size)]);
        expect(watchedRoots.get(BigInt(size)), `size ${size}`).to.deep.equal(expected);
        const together = pass(entries, [inspectedSize, BigInt(size), 3n, 150n]).watchedRoots;
        expect(together.get(BigInt(size)), `size ${size} among others`).to.deep.equal(expected);
      }
      expect(pass(entries, [inspectedSize + 1n]).watchedRoots.size).to.equal(0);
    });
  });
});
