/** Signed trees of every size; and a disk that lies: nothing of it is proved, and nothing of it signed. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { checkConsistency, checkInclusion, verifyCheckpoint } from "../../../src/core/merkle/index.ts";
import { entryOf } from "../../../src/core/record/record.ts";
import { verifyReceipt } from "../../../src/core/verify/receipt.ts";
import { SigilFault } from "../../../src/errors.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { groupKey, tileKey } from "../../../src/ledger/layout/keyspace.ts";
import { checkpointKeyOf } from "../../../src/ledger/read/examine.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { createWorld, openWorld, userBody, type World } from "../../contract/memory-ledger.ts";

const kindOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "answered",
    (error: unknown) => (error instanceof SigilFault ? error.error.kind : error),
  );

/** Appends groups of these sizes. @returns the sizes after each, the genesis group's first. */
const grow = async (ledger: Ledger, counts: readonly number[]): Promise<readonly bigint[]> => {
  const ends = [ledger.reader.size];
  for (const [group, count] of counts.entries()) {
    await ledger.append(
      Array.from({ length: count }, (_, index) => userBody(`r${ends[0]}-${group}-${index}`)),
    );
    ends.push(ledger.reader.size);
  }
  return ends;
};

const verified = async (ledger: Ledger, note: string, size: bigint) =>
  verifyCheckpoint(note, {
    origin: ledger.reader.origin,
    publicKey: checkpointKeyOf(ledger.reader.ring, size).publicKey,
    verify: verifyOwn,
  });

/** Changes a value on disk while nobody has the ledger open, and opens it. */
const openChanged = async (
  world: World,
  key: Uint8Array,
  change: (value: Uint8Array) => Uint8Array,
): Promise<Ledger> => {
  const store = await openMemoryStore(world.backing);
  const value = await store.get(key);
  if (value === undefined) throw new Error("nothing is stored there");
  await store.commit([{ kind: "put", key, value: change(value) }]);
  await store.close();
  return openWorld(world);
};

const flipped = (offset: number) => (bytes: Uint8Array) => bytes.with(offset, (bytes[offset] ?? 0) ^ 1);

describe("signed trees", () => {
  it("of commits are the same from memory as from the disk, and from the disk where memory does not reach", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const ends = await grow(ledger, [3, 1, 250, 7, 1, 1, 40]);
    const { trees } = ledger.reader;
    const ofCommits = async () => {
      for (let position = ends[0] ?? 0n; position < trees.newest.size; position += 1n) {
        const { checkpoint, proveInclusion } = await trees.reaching(position + 1n);
        const recorded = trees.recorded(position);
        // Of the first commit that it saw it does not know where the ledger ended before.
        if (position < (ends[1] ?? 0n)) expect(recorded).to.equal(undefined);
        else {
          expect(recorded?.checkpoint).to.equal(checkpoint);
          expect(recorded?.prove(position)).to.deep.equal(await proveInclusion(position));
        }
      }
    };
    const told = async () => {
      const all: unknown[] = [];
      for (let size = 1n; size <= trees.newest.size; size += 1n) {
        const tree = await trees.reaching(size);
        const { proof } = await trees.included(tree, size - 1n);
        all.push([tree.size, tree.root, tree.checkpoint, tree.signedMs, proof]);
      }
      return all;
    };
    const fromMemory = await told();
    await ofCommits();
    trees.forget();
    expect(trees.recorded(trees.newest.size - 1n)).to.equal(undefined);
    expect(await told()).to.deep.equal(fromMemory);
    await grow(
      ledger,
      Array.from({ length: 70 }, () => 1),
    );
    expect((await told()).slice(0, fromMemory.length)).to.deep.equal(fromMemory);
  });

  it("are given at every size: a commit's own where one ended, else signed now, all of one past", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const ends = await grow(ledger, [3, 1, 250, 7]);
    const { trees } = ledger.reader;
    const { newest } = trees;
    for (let size = 1n; size <= newest.size; size += 1n) {
      const tree = await trees.at(size);
      const note = await verified(ledger, tree.checkpoint, size);
      expect(note).to.include({ size });
      expect(note.root).to.deep.equal(tree.root);
      expect(tree.signedMs).to.equal(ends.includes(size) ? undefined : world.timeMs);
      const proof = await trees.extending(newest, size);
      const roots = { oldRoot: tree.root, newRoot: newest.root };
      const claim = { oldSize: size, newSize: newest.size, ...roots, proof };
      expect(checkConsistency(claim)).to.deep.equal({ kind: "ok" });
      const leafIndex = size / 2n;
      const { leafHash, proof: path } = await trees.included(tree, leafIndex);
      expect(
        checkInclusion({ leafIndex, treeSize: size, leafHash, root: tree.root, proof: path }),
      ).to.deep.equal({ kind: "ok" });
    }
  });

  it("name the commit that reached a size", async () => {
    await using ledger = await openWorld(await createWorld());
    const ends = await grow(ledger, [3, 1, 4]);
    for (let size = 1n; size <= ledger.reader.size; size += 1n) {
      const reached = await ledger.reader.trees.reaching(size);
      expect(reached.size).to.equal(ends.find((end) => end >= size));
      expect(reached.signedMs).to.equal(undefined);
    }
    expect(await kindOf(ledger.reader.trees.reaching(ledger.reader.size + 1n))).to.equal("sizeOutOfRange");
    expect(await kindOf(ledger.reader.trees.at(ledger.reader.size + 1n))).to.equal("sizeOutOfRange");
  });

  it("of an earlier checkpoint key are the stored ones alone: its successor signs nothing in its place", async () => {
    await using ledger = await openWorld(await createWorld());
    const [, stored = 0n] = await grow(ledger, [5]);
    await ledger.rotateKey("checkpoint");
    await grow(ledger, [5]);
    const { trees } = ledger.reader;
    const refused = await trees.at(stored - 1n).catch((error: unknown) => error);
    expect((refused as SigilFault).error).to.deep.equal({
      kind: "checkpointUnsigned",
      size: stored - 1n,
      storedSize: stored,
    });
    expect((await verified(ledger, (await trees.at(stored)).checkpoint, stored)).size).to.equal(stored);
    const later = ledger.reader.size - 1n;
    expect((await verified(ledger, (await trees.at(later)).checkpoint, later)).size).to.equal(later);
  });

  it("of a disk whose leaves were changed are neither proved nor signed", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    await grow(before, [300, 40]);
    await before.close();
    await using ledger = await openChanged(world, tileKey(0, 0n), flipped(32 * 10));
    const { trees } = ledger.reader;
    const { newest } = trees;
    // A tree that ends inside of the changed tile, the leaf itself, a neighbour, and growth from there.
    for (const call of [
      trees.at(100n),
      trees.included(newest, 10n),
      trees.included(newest, 200n),
      trees.extending(newest, 100n),
    ]) {
      expect(await kindOf(call)).to.equal("ledgerCorrupt");
    }
    expect((await trees.included(newest, 300n)).proof).to.have.length.above(0);
  });

  it("of a commit whose stored checkpoint was changed, or is another's, are not given", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    const [first = 0n, second = 0n] = await grow(before, [4, 4]);
    await before.close();
    const store = await openMemoryStore(world.backing);
    const own = await store.get(groupKey(0n));
    await store.close();
    const at = Buffer.from(own ?? []).indexOf("\u2014");
    await using changed = await openChanged(world, groupKey(0n), (bytes) => flipped(at + 60)(bytes));
    expect(await kindOf(changed.reader.trees.at(first))).to.equal("ledgerCorrupt");
    expect((await changed.reader.trees.at(second)).size).to.equal(second);
  });

  it("give a receipt for every leaf with one signature a root, and none for a tree without a path", async () => {
    const world = await createWorld();
    let signed = 0;
    const { signingKeys } = world.options;
    const counting: typeof signingKeys = {
      ...signingKeys,
      open: async (role, publicKey) => {
        const signer = await signingKeys.open(role, publicKey);
        const sign: typeof signer.sign = (message) => {
          signed += 1;
          return signer.sign(message);
        };
        return role === "checkpoint" ? { ...signer, sign } : signer;
      },
    };
    await using ledger = await openWorld(world, { signingKeys: counting });
    await grow(ledger, [9]);
    const { trees } = ledger.reader;
    const { newest } = trees;
    signed = 0;
    const positions = Array.from({ length: Number(newest.size) }, (_, index) => BigInt(index));
    const receipts = await Promise.all(
      positions.map(async (position) =>
        trees.receipt(newest, position, (await trees.included(newest, position)).proof),
      ),
    );
    expect(signed).to.equal(1);
    const { publicKey } = checkpointKeyOf(ledger.reader.ring, newest.size);
    const log = { origin: ledger.reader.origin, publicKey, verify: verifyOwn };
    for (const [index, receipt] of receipts.entries()) {
      const { envelope } = await ledger.reader.readAt(BigInt(index));
      const { root } = await verifyReceipt(receipt, entryOf(envelope), log);
      expect(root).to.deep.equal(newest.root);
    }
    expect(await kindOf(trees.receipt(await trees.at(1n), 0n, []))).to.equal("leafOutOfRange");
  });

  it("are signed one after the other for callers", async () => {
    const world = await createWorld();
    let [open, most] = [0, 0];
    const { signingKeys } = world.options;
    const slow: typeof signingKeys = {
      ...signingKeys,
      open: async (role, publicKey) => {
        const signer = await signingKeys.open(role, publicKey);
        const sign: typeof signer.sign = async (message) => {
          open += 1;
          most = Math.max(most, open);
          await new Promise((resolve) => setImmediate(resolve));
          open -= 1;
          return signer.sign(message);
        };
        return role === "checkpoint" ? { ...signer, sign } : signer;
      },
    };
    await using ledger = await openWorld(world, { signingKeys: slow });
    await grow(ledger, [20]);
    most = 0;
    const sizes = Array.from({ length: 12 }, (_, index) => BigInt(index + 3));
    await Promise.all(sizes.map((size) => ledger.reader.trees.at(size)));
    expect(most).to.equal(1);
  });
});
