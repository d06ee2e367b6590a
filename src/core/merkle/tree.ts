/**
 * Appending to an RFC 6962 tree: keeps a frontier of complete subtrees instead of the whole tree. Pure. Source:
 * docs/spec/ledger.md §2. At most 64 peaks; an append of n leaves hashes fewer than n + 64 nodes.
 */
import type { Hash } from "../bytes.ts";
import { assert } from "../errors.ts";
import { treeSizeMax } from "../limits.ts";
import { emptyRoot, nodeHash } from "./hash.ts";

/** The complete subtree over leaves [index · 2^level, (index + 1) · 2^level). Level 0 is a leaf hash. */
export interface NodeCoordinate {
  readonly level: number;
  readonly index: bigint;
}

export interface TreeNode extends NodeCoordinate {
  readonly hash: Hash;
}

/** Roots of the complete subtrees of a tree of `size`, one per set bit, largest (leftmost) first. */
export interface Frontier {
  readonly size: bigint;
  readonly peaks: readonly Hash[];
}

export interface Appended {
  readonly frontier: Frontier;
  /** Every subtree completed by the append, including leaves, children before their parent. */
  readonly nodes: readonly TreeNode[];
}

export const emptyFrontier: Frontier = { size: 0n, peaks: [] };

/** Complete subtrees that cover leaves [from, to), left to right: each the largest that is aligned and fits. */
export const subtreesOf = (from: bigint, to: bigint): readonly NodeCoordinate[] => {
  const nodes: NodeCoordinate[] = [];
  let start = from;
  while (start < to) {
    let level = 0;
    let span = 1n;
    while ((start & (2n * span - 1n)) === 0n && start + 2n * span <= to) {
      span *= 2n;
      level += 1;
    }
    nodes.push({ level, index: start / span });
    start += span;
  }
  return nodes;
};

/** The nodes to read to restore the frontier at `size`, in the order of `Frontier.peaks`. */
export const peaksOf = (size: bigint): readonly NodeCoordinate[] => subtreesOf(0n, size);

/** Restores the frontier from hashes in the order of `peaksOf`. */
export const restoreFrontier = (size: bigint, peaks: readonly Hash[]): Frontier => {
  assert(peaks.length === peaksOf(size).length, "a frontier has one peak for each bit set in its size");
  return { size, peaks: [...peaks] };
};

/** Root over hashes of subtrees, left to right, in decreasing size. */
export const foldRight = (hashes: readonly Hash[]): Hash => {
  const last = hashes.at(-1);
  assert(last !== undefined, "nothing to fold");
  let root = last;
  for (const left of hashes.slice(0, -1).reverse()) root = nodeHash(left, root);
  return root;
};

/** Plans an append; nothing is written. @returns the new frontier and the nodes to store with it. */
export const appendLeaves = (frontier: Frontier, leafHashes: readonly Hash[]): Appended => {
  assert(frontier.size + BigInt(leafHashes.length) <= treeSizeMax, "the tree is full");
  const nodes: TreeNode[] = [];
  const peaks = [...frontier.peaks];
  let size = frontier.size;
  for (const leaf of leafHashes) {
    let node: TreeNode = { level: 0, index: size, hash: leaf };
    nodes.push(node);
    // A right child completes its parent, like a carry in binary addition.
    while ((node.index & 1n) === 1n) {
      const left = peaks.pop();
      assert(left !== undefined, "the frontier lacks a peak");
      node = { level: node.level + 1, index: node.index >> 1n, hash: nodeHash(left, node.hash) };
      nodes.push(node);
    }
    peaks.push(node.hash);
    size += 1n;
  }
  return { frontier: { size, peaks }, nodes };
};

/** Appends a complete subtree whole: 2^level leaves of which only the root is known. */
export const appendSubtree = (
  { size, peaks }: Frontier,
  { level, hash }: Pick<TreeNode, "level" | "hash">,
): Frontier => {
  const span = 1n << BigInt(level);
  assert(size % span === 0n && size + span <= treeSizeMax, "a subtree begins at a multiple of its width");
  const kept = [...peaks];
  let root = hash;
  for (let path = size / span; (path & 1n) === 1n; path >>= 1n) {
    const left = kept.pop();
    assert(left !== undefined, "the frontier lacks a peak");
    root = nodeHash(left, root);
  }
  return { size: size + span, peaks: [...kept, root] };
};

/** @returns the RFC 6962 root of the frontier's tree. */
export const rootOf = (frontier: Frontier): Hash =>
  frontier.peaks.length === 0 ? emptyRoot() : foldRight(frontier.peaks);
