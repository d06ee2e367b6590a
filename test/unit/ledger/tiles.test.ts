/** Tiles and entries of a ledger against the tree as RFC 6962 defines it; a disk that lies; erased records. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { equalBytes, toHex, type Hash } from "../../../src/core/bytes.ts";
import { formatErasure } from "../../../src/core/record/kinds.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { erasedEntryKey, tileKey } from "../../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import {
  createWorld,
  faultOf,
  openWorld,
  systemBody,
  userBody,
  withStore,
} from "../../contract/memory-ledger.ts";

const noTurns = async (): Promise<void> => {};

const grow = async (ledger: Ledger, size: bigint): Promise<void> => {
  while (ledger.reader.size < size) {
    const count = Math.min(200, Number(size - ledger.reader.size));
    const from = ledger.reader.size;
    await ledger.append(Array.from({ length: count }, (_, index) => userBody(`r${from}-${index}`)));
  }
};

const hashOf = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** RFC 6962 §2.1, of entries; as slow as it reads. */
const mth = (entries: readonly Uint8Array[]): Uint8Array => {
  if (entries.length === 1) return hashOf(Uint8Array.of(0), entries[0] as Uint8Array);
  let split = 1;
  while (split * 2 < entries.length) split *= 2;
  return hashOf(Uint8Array.of(1), mth(entries.slice(0, split)), mth(entries.slice(split)));
};

const readEntries = async (ledger: Ledger): Promise<readonly Hash[]> => {
  const entries: Hash[] = [];
  for (let index = 0n; index * 256n < ledger.reader.size; index += 1n) {
    const left = ledger.reader.size - index * 256n;
    const width = left < 256n ? Number(left) : 256;
    entries.push(...(await ledger.reader.tiles.entries(index, width, noTurns)));
  }
  return entries;
};

describe("the ledger's tiles", () => {
  it("hold the tree that RFC 6962 defines over the entries, and entries are the hashes of the envelopes", async () => {
    await using ledger = await openWorld(await createWorld());
    await grow(ledger, 700n);
    const { tiles } = ledger.reader;
    const entries = await readEntries(ledger);
    expect(entries.length).to.equal(700);
    expect(toHex(mth(entries))).to.equal(toHex(ledger.reader.tree.root));
    const { envelope } = await ledger.reader.readAt(600n);
    expect(toHex(hashOf(envelope))).to.equal(toHex(entries[600] ?? new Uint8Array(0)));
    for (const [index, width] of [
      [0n, 256],
      [0n, 1],
      [1n, 256],
      [1n, 255],
      [2n, 188],
      [2n, 100],
    ] as const) {
      const first = Number(index) * 256;
      const wanted = entries.slice(first, first + width).map((entry) => toHex(mth([entry])));
      expect((await tiles.hashes({ level: 0, index }, width)).map(toHex)).to.deep.equal(wanted);
    }
    const above = await tiles.hashes({ level: 1, index: 0n }, 2);
    expect(above.map(toHex)).to.deep.equal([
      toHex(mth(entries.slice(0, 256))),
      toHex(mth(entries.slice(256, 512))),
    ]);
  });

  it("are not given from a disk that lies, whichever slot is changed", async () => {
    const world = await createWorld();
    {
      await using ledger = await openWorld(world);
      await grow(ledger, 1100n);
    }
    const lies: readonly (readonly [Uint8Array, number, { level: number; index: bigint }, number])[] = [
      ...[0, 1, 100, 254, 255].map((slot) => [tileKey(0, 1n), slot, { level: 0, index: 1n }, 256] as const),
      [tileKey(0, 2n), 100, { level: 0, index: 2n }, 256],
      ...[0n, 1n, 3n].map((slot) => [tileKey(1, slot), 0, { level: 1, index: 0n }, 4] as const),
    ];
    for (const [key, slot, tile, width] of lies) {
      const flip = (): Promise<void> =>
        withStore(world, async (store) => {
          const value = (await store.get(key)) as Uint8Array;
          await store.commit([
            { kind: "put", key, value: value.with(slot * 32, (value[slot * 32] ?? 0) ^ 1) },
          ]);
        });
      await flip();
      const opened = await openWorld(world).catch((error: unknown) => error);
      if (opened instanceof Error) {
        // The newest root could not be made from it: a start refuses such a ledger as a whole.
        expect(String(opened)).to.match(/damaged/);
      } else {
        await using ledger = opened as Ledger;
        const fault = await faultOf(ledger.reader.tiles.hashes(tile, width));
        expect(fault, `${toHex(key)} ${slot}`).to.include({ kind: "ledgerCorrupt" });
      }
      await flip();
    }
  });

  it("have the entries of erased records, which an inspection compares with the tree", async () => {
    const world = await createWorld();
    let before: readonly Hash[];
    {
      await using ledger = await openWorld(world);
      await grow(ledger, 300n);
      before = await readEntries(ledger);
      await ledger.append([
        systemBody("erasure", "erasure/acme", formatErasure({ tenant: "acme", reason: "r" })),
      ]);
      // A copy begins when no erasure is under way.
      await (await ledger.reader.export(0n))[Symbol.asyncDispose]();
      expect(await faultOf(ledger.reader.readAt(299n))).to.include({ kind: "erased" });
      const after = await readEntries(ledger);
      expect(after.slice(0, 300).map(toHex)).to.deep.equal(before.map(toHex));
    }
    expect((await runFsck(world.options)).problems).to.deep.equal([]);
    const put = (position: bigint, value: Uint8Array): Promise<void> =>
      withStore(world, (store) => store.commit([{ kind: "put", key: erasedEntryKey(position), value }]));
    const kept = before[299] as Hash;
    await put(299n, kept.with(0, (kept[0] ?? 0) ^ 1));
    expect((await runFsck(world.options)).first).to.deep.include({ position: 299n, step: "leaf" });
    {
      await using ledger = await openWorld(world);
      const read = ledger.reader.tiles.entries(1n, 44, noTurns);
      expect(await faultOf(read)).to.include({ kind: "recordCorrupt", position: 299n, step: "leaf" });
    }
    await put(299n, kept);
    await put(0n, before[0] as Hash);
    expect((await runFsck(world.options)).first?.rule).to.equal("1 kept entries are of no erased record");
  });

  it("say what is missing of records that were erased before entries were kept, and give all else", async () => {
    const world = await createWorld();
    {
      await using ledger = await openWorld(world);
      await grow(ledger, 20n);
      await ledger.append([
        systemBody("erasure", "erasure/acme", formatErasure({ tenant: "acme", reason: "r" })),
      ]);
      await (await ledger.reader.export(0n))[Symbol.asyncDispose]();
    }
    await withStore(world, (store) => store.commit([{ kind: "delete", key: erasedEntryKey(19n) }]));
    expect((await runFsck(world.options)).problems).to.deep.equal([]);
    await using ledger = await openWorld(world);
    const { tiles } = ledger.reader;
    expect(await faultOf(tiles.entries(0n, 20, noTurns))).to.deep.include({ kind: "notFound", id: "19" });
    expect((await tiles.entries(0n, 19, noTurns)).length).to.equal(19);
    const leaves = await tiles.hashes({ level: 0, index: 0n }, 20);
    expect(leaves.every((leaf) => !equalBytes(leaf, new Uint8Array(32)))).to.equal(true);
  });

  it("let others have a turn after every sixteen entries", async () => {
    await using ledger = await openWorld(await createWorld());
    await grow(ledger, 100n);
    let turns = 0;
    await ledger.reader.tiles.entries(0n, 100, async (spentMs) => {
      expect(spentMs).to.be.above(0);
      turns += 1;
    });
    expect(turns).to.equal(6);
  });
});
