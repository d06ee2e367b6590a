/** The tree on disk: what it keeps is enough to prove every leaf at every size, and that sizes continue each other. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { Hash } from "../../../src/core/bytes.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import {
  checkConsistency,
  checkInclusion,
  proveConsistency,
  proveInclusion,
} from "../../../src/core/merkle/proof.ts";
import { rootOf } from "../../../src/core/merkle/tree.ts";
import { emptyTree, planLeaves, TreeReader, type TreeState } from "../../../src/ledger/layout/tree.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import type { Store } from "../../../src/storage/store.ts";
import { createWorld, openWorld, userBody } from "../../contract/memory-ledger.ts";

const sizeMax = 600;
const leaves = Array.from({ length: sizeMax }, (_, index) =>
  leafHash(sha256(Uint8Array.of(index >> 8, index & 0xff))),
);

/** Grows a tree in uneven groups; the state at every size where a group ended. */
const grow = async (store: Store, groupSizes: () => number): Promise<readonly TreeState[]> => {
  const states: TreeState[] = [];
  let state = emptyTree;
  for (let from = 0; from < sizeMax;) {
    const to = Math.min(sizeMax, from + groupSizes());
    const plan = planLeaves(state, leaves.slice(from, to));
    if (plan.ops.length > 0) await store.commit(plan.ops);
    state = plan.tree;
    states.push(state);
    from = to;
  }
  return states;
};

describe("the tree on disk", () => {
  it("proves leaves at every size up to 600, and every leaf at sizes around whole tiles", async () => {
    const store = await openMemoryStore();
    const states = await grow(store, () => 1);
    const reader = new TreeReader(() => store);
    const around = new Set([1, 2, 3, 255, 256, 257, 511, 512, 513, 600]);
    for (const state of states) {
      const treeSize = state.frontier.size;
      const size = Number(treeSize);
      const root = rootOf(state.frontier);
      const all = Array.from({ length: size }, (_, index) => index);
      const some = new Set([0, 1, size >> 1, (size * 7) % size, size - 2, size - 1]);
      const asked = around.has(size) ? all : all.filter((index) => some.has(index));
      for (const index of asked) {
        const leafIndex = BigInt(index);
        const proof = await proveInclusion(leafIndex, treeSize, reader.readHashes(state));
        const claim = { leafIndex, treeSize, leafHash: leaves[index] as Hash, root, proof };
        const outcome = checkInclusion(claim);
        expect(outcome.kind, `leaf ${index} of ${size}`).to.equal("ok");
      }
    }
  });

  it("proves that each size continues the ones before it, whatever the groups were", async () => {
    const store = await openMemoryStore();
    let turn = 0;
    const states = await grow(store, () => [1, 7, 256, 3, 40][turn++ % 5] ?? 1);
    const reader = new TreeReader(() => store);
    for (const [at, newer] of states.entries()) {
      for (const older of states.slice(0, at + 1)) {
        const [oldSize, newSize] = [older.frontier.size, newer.frontier.size];
        const oldRoot = rootOf(older.frontier);
        const newRoot = rootOf(newer.frontier);
        const proof = await proveConsistency(oldSize, newSize, reader.readHashes(newer));
        const outcome = checkConsistency({ oldSize, newSize, oldRoot, newRoot, proof });
        expect(outcome.kind, `${oldSize} to ${newSize}`).to.equal("ok");
      }
    }
  });

  /** A tree of two whole tiles, on a store whose reads are counted and wait until they are let go. */
  const holding = async () => {
    const store: { -readonly [Name in keyof Store]: Store[Name] } = await openMemoryStore();
    const states = await grow(store, () => sizeMax);
    const gates: PromiseWithResolvers<void>[] = [];
    const get = store.get.bind(store);
    store.get = async (key) => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return get(key);
    };
    const reader = new TreeReader(() => store);
    const [state = emptyTree] = states;
    const prove = (leafIndex: bigint) =>
      proveInclusion(leafIndex, state.frontier.size, reader.readHashes(state));
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    return { reader, gates, prove, turn };
  };

  it("reads a tile once for everybody who asks for it at once, and from memory afterwards", async () => {
    const { gates, prove, turn } = await holding();
    const proofs = Promise.all([0n, 3n, 100n].map(prove));
    await turn();
    expect(gates).to.have.length(1);
    for (const gate of gates) gate.resolve();
    const [first] = await proofs;
    expect(await prove(0n)).to.deep.equal(first);
    expect(gates).to.have.length(1);
  });

  it("reads a tile anew after it could not be read, and after all was forgotten while it was read", async () => {
    const { reader, gates, prove, turn } = await holding();
    const failing = prove(0n).then(
      () => "proved",
      (error: unknown) => String(error),
    );
    await turn();
    gates[0]?.reject(new Error("the disk is gone"));
    expect(await failing).to.contain("the disk is gone");
    const old = prove(0n);
    await turn();
    reader.forget();
    const fresh = prove(0n);
    await turn();
    expect(gates).to.have.length(3);
    gates[1]?.resolve();
    await old;
    // What was read before the forgetting vouches for nothing, nor does its end take away the reading that follows.
    const another = prove(0n);
    await turn();
    expect(gates).to.have.length(3);
    gates[2]?.resolve();
    expect(await another).to.deep.equal(await fresh);
  });

  it("keeps its roots consistent and its records provable over reopenings in uneven groups", async () => {
    const world = await createWorld();
    const seen: { readonly size: bigint; readonly root: Hash }[] = [];
    for (const [round, count] of [3, 250, 2, 1, 257, 30].entries()) {
      const ledger = await openWorld(world);
      for (const { size, root } of seen) {
        const last = seen.at(-1);
        if (last?.size === size) expect(ledger.reader.checkpoint.root).to.deep.equal(root);
      }
      await ledger.append(Array.from({ length: count }, (_, index) => userBody(`r${round}-${index}`)));
      seen.push(ledger.reader.checkpoint);
      for (let position = 0n; position < ledger.reader.size; position += 37n) {
        const { steps } = await ledger.reader.examine(position);
        expect(steps.map(({ outcome }) => outcome)).to.deep.equal(steps.map(() => "passed"));
      }
      await ledger.close();
    }
    expect(seen.at(-1)?.size).to.equal(544n);
  });
});
