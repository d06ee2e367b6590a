/** The tree and its proofs against a recursive tree that recomputes everything from all leaves. */
import { expect } from "chai";
import * as fc from "fast-check";
import { describe, it } from "mocha";
import type { Hash } from "../../../src/core/bytes.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import {
  checkConsistency,
  checkInclusion,
  proveConsistency,
  proveInclusion,
} from "../../../src/core/merkle/proof.ts";
import type { ConsistencyClaim, InclusionClaim, ReadHashes } from "../../../src/core/merkle/proof.ts";
import {
  appendLeaves,
  emptyFrontier,
  peaksOf,
  restoreFrontier,
  rootOf,
} from "../../../src/core/merkle/tree.ts";
import type { Frontier } from "../../../src/core/merkle/tree.ts";
import { naiveConsistency, naiveInclusion, naiveLeaf, naiveRoot, sampleEntries } from "./naive-tree.ts";

const leavesMax = 2000;
const entries = sampleEntries(leavesMax);
const leaves = entries.map((entry) => leafHash(entry));
const firstEntries = (size: number): readonly Uint8Array[] => entries.slice(0, size);

const grown = appendLeaves(emptyFrontier, leaves);
const stored = new Map(grown.nodes.map(({ level, index, hash }) => [`${level}/${index}`, hash]));

/** Complete subtrees of the first `size` leaves only, so that a proof cannot read what came later. */
const readerAt =
  (size: number): ReadHashes =>
  async (nodes) =>
    nodes.map(({ level, index }) => {
      const hash = stored.get(`${level}/${index}`);
      if (hash === undefined || (index + 1n) << BigInt(level) > BigInt(size)) {
        throw new Error(`no node ${level}/${index} in a tree of ${size}`);
      }
      return hash;
    });

const frontierAt = (size: number): Frontier => appendLeaves(emptyFrontier, leaves.slice(0, size)).frontier;
const roots = Array.from({ length: 65 }, (_, size) => naiveRoot(firstEntries(size)));
const rootAt = (size: number): Hash => roots[size] ?? naiveRoot(firstEntries(size));

const hexAll = (hashes: readonly Hash[]): readonly string[] => hashes.map(toHex);

const inclusionClaim = async (leaf: number, size: number): Promise<InclusionClaim> => ({
  leafIndex: BigInt(leaf),
  treeSize: BigInt(size),
  leafHash: naiveLeaf(entries[leaf] ?? new Uint8Array()),
  root: rootAt(size),
  proof: await proveInclusion(BigInt(leaf), BigInt(size), readerAt(size)),
});

const consistencyClaim = async (old: number, size: number): Promise<ConsistencyClaim> => ({
  oldSize: BigInt(old),
  newSize: BigInt(size),
  oldRoot: rootAt(old),
  newRoot: rootAt(size),
  proof: await proveConsistency(BigInt(old), BigInt(size), readerAt(size)),
});

/** Every copy of the bytes with one bit changed. */
const bitFlips = (bytes: Uint8Array): readonly Uint8Array[] =>
  Array.from({ length: 8 * bytes.length }, (_, bit) =>
    bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
  );

const proofFlips = (proof: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] =>
  proof.flatMap((hash, order) => bitFlips(hash).map((flip) => proof.with(order, flip)));

describe("the tree", () => {
  it("has the naive root at every size up to 64", () => {
    for (let size = 0; size <= 64; size += 1) {
      expect(toHex(rootOf(frontierAt(size))), `size ${size}`).to.equal(toHex(rootAt(size)));
    }
  });

  it("has the naive root at sizes up to 2000, however the leaves are grouped", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 7 }), (groups) => {
        let frontier = emptyFrontier;
        for (const count of groups) {
          const from = Number(frontier.size);
          frontier = appendLeaves(frontier, leaves.slice(from, from + count)).frontier;
        }
        expect(frontier.peaks).to.have.length(peaksOf(frontier.size).length);
        expect(toHex(rootOf(frontier))).to.equal(toHex(naiveRoot(firstEntries(Number(frontier.size)))));
      }),
      { numRuns: 25 },
    );
  });

  it("gives each complete subtree once, with the naive root of its leaves", () => {
    const { nodes } = appendLeaves(emptyFrontier, leaves.slice(0, 100));
    expect(new Set(nodes.map(({ level, index }) => `${level}/${index}`)).size).to.equal(nodes.length);
    expect(nodes).to.have.length(197); // 100 + 50 + 25 + 12 + 6 + 3 + 1
    for (const { level, index, hash } of nodes) {
      const from = Number(index) << level;
      expect(toHex(hash)).to.equal(toHex(naiveRoot(entries.slice(from, from + (1 << level)))));
    }
  });

  it("continues from a frontier read back from storage", async () => {
    for (const size of [0, 1, 2, 3, 7, 64, 100, 255, 256]) {
      const peaks = await readerAt(size)(peaksOf(BigInt(size)));
      const frontier = restoreFrontier(BigInt(size), peaks);
      expect(frontier).to.deep.equal(frontierAt(size));
    }
  });

  it("leaves the frontier that it appends to as it was", () => {
    const before = frontierAt(7);
    const copy = structuredClone(before);
    appendLeaves(before, leaves.slice(7, 9));
    expect(before).to.deep.equal(copy);
  });
});

describe("an inclusion proof", () => {
  it("is the naive one and holds, for every leaf of every size up to 64", async () => {
    for (let size = 1; size <= 64; size += 1) {
      for (let leaf = 0; leaf < size; leaf += 1) {
        const claim = await inclusionClaim(leaf, size);
        const naive = naiveInclusion(leaf, firstEntries(size));
        expect(hexAll(claim.proof as Hash[]), `leaf ${leaf} of ${size}`).to.deep.equal(hexAll(naive));
        expect(checkInclusion(claim)).to.deep.equal({ kind: "ok" });
      }
    }
  });

  it("is the naive one and holds, for random leaves of sizes up to 2000", async () => {
    const place = fc
      .integer({ min: 1, max: leavesMax })
      .chain((size) => fc.tuple(fc.integer({ min: 0, max: size - 1 }), fc.constant(size)));
    await fc.assert(
      fc.asyncProperty(place, async ([leaf, size]) => {
        const claim = await inclusionClaim(leaf, size);
        expect(hexAll(claim.proof as Hash[])).to.deep.equal(hexAll(naiveInclusion(leaf, firstEntries(size))));
        expect(checkInclusion(claim)).to.deep.equal({ kind: "ok" });
      }),
      { numRuns: 25 },
    );
  });

  it("is refused with any single bit changed, in proof, root or leaf hash", async () => {
    for (let size = 1; size <= 9; size += 1) {
      for (let leaf = 0; leaf < size; leaf += 1) {
        const claim = await inclusionClaim(leaf, size);
        const bent = [
          ...proofFlips(claim.proof).map((proof) => ({ ...claim, proof })),
          ...bitFlips(claim.root).map((root) => ({ ...claim, root })),
          ...bitFlips(claim.leafHash).map((hash) => ({ ...claim, leafHash: hash })),
        ];
        const passed = bent.filter((mutated) => checkInclusion(mutated).kind === "ok");
        expect(passed, `leaf ${leaf} of ${size}`).to.have.length(0);
      }
    }
  });

  it("is refused with one hash too many or too few", async () => {
    for (let size = 1; size <= 20; size += 1) {
      const claim = await inclusionClaim(size - 1, size);
      const [first = claim.root] = claim.proof;
      for (const proof of [
        [...claim.proof, claim.root],
        [first, ...claim.proof],
        claim.proof.slice(0, -1),
        claim.proof.slice(1),
      ]) {
        if (proof.length === claim.proof.length) continue;
        const wanted = `proof must hold exactly ${claim.proof.length} hashes, got ${proof.length}`;
        expect(checkInclusion({ ...claim, proof })).to.deep.equal({ kind: "refused", rule: wanted });
      }
    }
  });

  it("holds at no other index", async () => {
    for (const size of [2, 3, 7, 8, 13, 64]) {
      for (let leaf = 0; leaf < size; leaf += 1) {
        const claim = await inclusionClaim(leaf, size);
        for (let other = 0n; other < BigInt(size); other += 1n) {
          const outcome = checkInclusion({ ...claim, leafIndex: other });
          expect(outcome.kind).to.equal(other === claim.leafIndex ? "ok" : "refused");
        }
      }
    }
  });

  it("cannot be asked for a leaf at or past the size", async () => {
    for (const [leafIndex, treeSize] of [
      [0n, 0n],
      [5n, 5n],
      [-1n, 5n],
    ] as const) {
      const error = await proveInclusion(leafIndex, treeSize, readerAt(5)).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(SigilFault);
      expect((error as SigilFault).error).to.deep.equal({ kind: "leafOutOfRange", leafIndex, treeSize });
    }
  });

  it("is refused at the far end of uint64 without a long loop", () => {
    const root = rootAt(1);
    const claim = { leafIndex: 2n ** 64n - 2n, treeSize: 2n ** 64n - 1n, leafHash: root, root, proof: [] };
    expect(checkInclusion(claim).kind).to.equal("refused");
  });
});

describe("a consistency proof", () => {
  it("is the naive one and holds, for every pair of sizes up to 64", async () => {
    for (let size = 0; size <= 64; size += 1) {
      for (let old = 0; old <= size; old += 1) {
        const claim = await consistencyClaim(old, size);
        const naive = naiveConsistency(old, firstEntries(size));
        expect(hexAll(claim.proof as Hash[]), `${old} in ${size}`).to.deep.equal(hexAll(naive));
        expect(checkConsistency(claim), `${old} in ${size}`).to.deep.equal({ kind: "ok" });
      }
    }
  });

  it("is the naive one and holds, for random pairs up to 2000", async () => {
    const pair = fc
      .integer({ min: 0, max: leavesMax })
      .chain((size) => fc.tuple(fc.integer({ min: 0, max: size }), fc.constant(size)));
    await fc.assert(
      fc.asyncProperty(pair, async ([old, size]) => {
        const claim = await consistencyClaim(old, size);
        expect(hexAll(claim.proof as Hash[])).to.deep.equal(
          hexAll(naiveConsistency(old, firstEntries(size))),
        );
        expect(checkConsistency(claim)).to.deep.equal({ kind: "ok" });
      }),
      { numRuns: 20 },
    );
  });

  it("is refused with any single bit changed, in proof or roots", async () => {
    for (let size = 1; size <= 9; size += 1) {
      for (let old = 1; old <= size; old += 1) {
        const claim = await consistencyClaim(old, size);
        const bent = [
          ...proofFlips(claim.proof).map((proof) => ({ ...claim, proof })),
          ...bitFlips(claim.oldRoot).map((oldRoot) => ({ ...claim, oldRoot })),
          ...bitFlips(claim.newRoot).map((newRoot) => ({ ...claim, newRoot })),
        ];
        const passed = bent.filter((mutated) => checkConsistency(mutated).kind === "ok");
        expect(passed, `${old} in ${size}`).to.have.length(0);
      }
    }
  });

  it("is refused with one hash too many or too few", async () => {
    for (let size = 1; size <= 20; size += 1) {
      for (let old = 0; old <= size; old += 1) {
        const claim = await consistencyClaim(old, size);
        const longer = [...claim.proof, claim.newRoot];
        expect(checkConsistency({ ...claim, proof: longer }).kind).to.equal("refused");
        if (claim.proof.length === 0) continue;
        const shorter = claim.proof.slice(0, -1);
        expect(checkConsistency({ ...claim, proof: shorter }).kind).to.equal("refused");
      }
    }
  });

  it("does not hold for a rewritten history of the same size", async () => {
    const rewritten = naiveRoot(firstEntries(5).map((entry, at) => (at === 2 ? leafHash(entry) : entry)));
    const claim = await consistencyClaim(5, 13);
    expect(checkConsistency({ ...claim, oldRoot: rewritten })).to.deep.equal({
      kind: "refused",
      rule: "proof must lead to the old root",
    });
  });

  it("cannot be asked for from a larger to a smaller size", async () => {
    const error = await proveConsistency(6n, 5n, readerAt(6)).catch((thrown: unknown) => thrown);
    expect((error as SigilFault).error).to.deep.equal({ kind: "sizeOutOfRange", size: 6n, treeSize: 5n });
  });
});
