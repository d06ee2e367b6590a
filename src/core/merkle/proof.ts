/**
 * Inclusion and consistency proofs, RFC 6962 §2.1.1 and §2.1.2. Pure: hashes are read by a function argument. Source:
 * docs/spec/ledger.md §3. At most 64 hashes for inclusion, 65 for consistency; one read per proof.
 */
import { equalBytes, parseHash } from "../bytes.ts";
import type { Hash } from "../bytes.ts";
import { assert, fail } from "../errors.ts";
import { treeSizeMax } from "../limits.ts";
import { emptyRoot, nodeHash } from "./hash.ts";
import { appendLeaves, foldRight, peaksOf, subtreesOf } from "./tree.ts";
import type { Frontier, NodeCoordinate } from "./tree.ts";

/** Reads hashes of complete subtrees, in the order requested. Rejects if one is missing. */
export type ReadHashes = (nodes: readonly NodeCoordinate[]) => Promise<readonly Hash[]>;

/** `rule` is the rule that the proof breaks. */
type Refused = { readonly kind: "refused"; readonly rule: string };
export type ProofOutcome = { readonly kind: "ok" } | Refused;
export type PathOutcome = { readonly kind: "ok"; readonly root: Hash } | Refused;

/** Untrusted input: lengths are checked here. */
export interface InclusionClaim {
  readonly leafIndex: bigint;
  readonly treeSize: bigint;
  readonly leafHash: Uint8Array;
  readonly root: Uint8Array;
  /** Siblings from leaf to root. */
  readonly proof: readonly Uint8Array[];
}

export interface ConsistencyClaim {
  readonly oldSize: bigint;
  readonly newSize: bigint;
  readonly oldRoot: Uint8Array;
  readonly newRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Leaves [from, to): a subtree, not necessarily complete. */
interface LeafRange {
  readonly from: bigint;
  readonly to: bigint;
}

/** The largest power of two below `leaves`, which is at least 2. */
const splitOf = (leaves: bigint): bigint => 1n << BigInt(bitLength(leaves - 1n) - 1);

const bitLength = (value: bigint): number => (value === 0n ? 0 : value.toString(2).length);

const onesIn = (value: bigint): number => value.toString(2).replaceAll("0", "").length;

const trailingZeros = (value: bigint): number => bitLength(value & -value) - 1;

/** Sibling ranges from leaf to root. */
const inclusionRanges = (leafIndex: bigint, treeSize: bigint): readonly LeafRange[] => {
  const siblings: LeafRange[] = [];
  let { from, to }: LeafRange = { from: 0n, to: treeSize };
  while (to - from > 1n) {
    const middle = from + splitOf(to - from);
    if (leafIndex < middle) {
      siblings.push({ from: middle, to });
      to = middle;
    } else {
      siblings.push({ from, to: middle });
      from = middle;
    }
  }
  return siblings.reverse();
};

/** Ranges of the proof's hashes, in order, for 0 < oldSize < newSize. */
const consistencyRanges = (oldSize: bigint, newSize: bigint): readonly LeafRange[] => {
  const ranges: LeafRange[] = [];
  let { from, to }: LeafRange = { from: 0n, to: newSize };
  while (to !== oldSize) {
    const middle = from + splitOf(to - from);
    if (oldSize <= middle) {
      ranges.push({ from: middle, to });
      to = middle;
    } else {
      ranges.push({ from, to: middle });
      from = middle;
    }
  }
  // The verifier knows the old root, so the subtree [0, oldSize) is omitted; any other that ends there is needed.
  if (from > 0n) ranges.push({ from, to });
  return ranges.reverse();
};

const readRanges = async (ranges: readonly LeafRange[], readHashes: ReadHashes): Promise<readonly Hash[]> => {
  const groups = ranges.map(({ from, to }) => subtreesOf(from, to));
  const wanted = groups.flat();
  const hashes = wanted.length === 0 ? [] : await readHashes(wanted);
  assert(hashes.length === wanted.length, "the store returned another number of hashes");
  let taken = 0;
  return groups.map((group) => {
    taken += group.length;
    return foldRight(hashes.slice(taken - group.length, taken));
  });
};

/** @returns siblings from leaf to root. @throws leafOutOfRange unless leafIndex < treeSize. */
export const proveInclusion = async (
  leafIndex: bigint,
  treeSize: bigint,
  readHashes: ReadHashes,
): Promise<readonly Hash[]> => {
  if (leafIndex < 0n || leafIndex >= treeSize) fail({ kind: "leafOutOfRange", leafIndex, treeSize });
  return readRanges(inclusionRanges(leafIndex, treeSize), readHashes);
};

/**
 * Proofs of leaves that were just appended, in the tree that ends with them: what stands to their left are peaks of the
 * tree before, so nothing is read. @returns as `proveInclusion`, for leaves of this append alone.
 */
export const proveAppended = (
  before: Frontier,
  leaves: readonly Hash[],
): ((leafIndex: bigint) => readonly Hash[]) => {
  const { nodes, frontier } = appendLeaves(before, leaves);
  const known = new Map<string, Hash>();
  const nameOf = ({ level, index }: NodeCoordinate): string => `${level}/${index}`;
  for (const [order, peak] of peaksOf(before.size).entries())
    known.set(nameOf(peak), before.peaks[order] as Hash);
  for (const node of nodes) known.set(nameOf(node), node.hash);
  const folded = new Map<string, Hash>();
  const hashOf = ({ from, to }: LeafRange): Hash => {
    const name = `${from}-${to}`;
    const hash =
      folded.get(name) ?? foldRight(subtreesOf(from, to).map((node) => known.get(nameOf(node)) as Hash));
    folded.set(name, hash);
    return hash;
  };
  return (leafIndex) => {
    const treeSize = frontier.size;
    if (leafIndex < before.size || leafIndex >= treeSize)
      fail({ kind: "leafOutOfRange", leafIndex, treeSize });
    return inclusionRanges(leafIndex, treeSize).map(hashOf);
  };
};

/**
 * @returns the proof, empty for old size 0 and for equal sizes. @throws sizeOutOfRange unless 0 ≤ oldSize ≤ newSize.
 */
export const proveConsistency = async (
  oldSize: bigint,
  newSize: bigint,
  readHashes: ReadHashes,
): Promise<readonly Hash[]> => {
  if (oldSize < 0n || oldSize > newSize) fail({ kind: "sizeOutOfRange", size: oldSize, treeSize: newSize });
  if (oldSize === 0n || oldSize === newSize) return [];
  return readRanges(consistencyRanges(oldSize, newSize), readHashes);
};

const OK: ProofOutcome = { kind: "ok" };
const refused = (rule: string): Refused => ({ kind: "refused", rule });

const isHash = (bytes: Uint8Array): boolean => bytes.length === 32;

const wrongCount = (wanted: number, got: number): Refused =>
  refused(`proof must hold exactly ${wanted} hashes, got ${got}`);

/** Folds siblings into a hash: if bit i of `path` is set, the i-th sibling is on the left. */
const climb = (start: Hash, siblings: readonly Hash[], path: bigint): Hash => {
  let hash = start;
  let turns = path;
  for (const sibling of siblings) {
    hash = (turns & 1n) === 1n ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
    turns >>= 1n;
  }
  return hash;
};

/** Folds siblings along the right edge of the tree, where every sibling is on the left. */
const climbEdge = (start: Hash, siblings: readonly Hash[]): Hash => {
  let hash = start;
  for (const sibling of siblings) hash = nodeHash(sibling, hash);
  return hash;
};

/** As `climb`, but skips right siblings: their leaves are not in the old tree. */
const climbLeftOnly = (start: Hash, siblings: readonly Hash[], path: bigint): Hash =>
  climbEdge(
    start,
    siblings.filter((_, height) => ((path >> BigInt(height)) & 1n) === 1n),
  );

/** The root to which a leaf's path leads. Never throws on untrusted input. */
export const rootOfPath = (claim: Omit<InclusionClaim, "root">): PathOutcome => {
  const { leafIndex, treeSize, proof } = claim;
  if (treeSize < 0n || treeSize > treeSizeMax) return refused("tree size must be a uint64");
  if (leafIndex < 0n || leafIndex >= treeSize) return refused("leaf index must be below tree size");
  if (!isHash(claim.leafHash)) return refused("leaf hash must be 32 bytes");
  // The lowest `inner` siblings may be on either side; above them the path follows the tree's right edge.
  const inner = bitLength(leafIndex ^ (treeSize - 1n));
  const edge = onesIn(leafIndex >> BigInt(inner));
  if (proof.length !== inner + edge) return wrongCount(inner + edge, proof.length);
  if (!proof.every(isHash)) return refused("a proof hash must be 32 bytes");
  const siblings = proof.map(parseHash);
  const turned = climb(parseHash(claim.leafHash), siblings.slice(0, inner), leafIndex);
  return { kind: "ok", root: climbEdge(turned, siblings.slice(inner)) };
};

/** Checks that the leaf is at that index of the tree with that size and root. Never throws on untrusted input. */
export const checkInclusion = (claim: InclusionClaim): ProofOutcome => {
  if (!isHash(claim.root)) return refused("root must be 32 bytes");
  const path = rootOfPath(claim);
  if (path.kind === "refused") return path;
  return equalBytes(path.root, claim.root) ? OK : refused("proof must lead to the root");
};

/** Cases with an empty proof: an empty old tree, or equal sizes. */
const checkWithoutPath = (claim: ConsistencyClaim): ProofOutcome => {
  if (claim.proof.length !== 0) return wrongCount(0, claim.proof.length);
  if (claim.oldSize === 0n && !equalBytes(claim.oldRoot, emptyRoot())) {
    return refused("old root must be the empty root at size 0");
  }
  if (claim.oldSize === claim.newSize && !equalBytes(claim.oldRoot, claim.newRoot)) {
    return refused("roots must be equal at equal sizes");
  }
  return OK;
};

/** Checks that the old tree is a prefix of the new one. Never throws on untrusted input. */
export const checkConsistency = (claim: ConsistencyClaim): ProofOutcome => {
  const { oldSize, newSize, proof } = claim;
  if (newSize < 0n || newSize > treeSizeMax) return refused("new size must be a uint64");
  if (oldSize < 0n || oldSize > newSize) return refused("old size must not be above new size");
  if (!isHash(claim.oldRoot)) return refused("old root must be 32 bytes");
  if (!isHash(claim.newRoot)) return refused("new root must be 32 bytes");
  if (oldSize === 0n || oldSize === newSize) return checkWithoutPath(claim);
  // The climb starts at the last complete subtree of the old tree, 2^height leaves wide.
  const height = trailingZeros(oldSize);
  const lastLeaf = oldSize - 1n;
  const meeting = bitLength(lastLeaf ^ (newSize - 1n));
  const inner = meeting - height;
  const edge = onesIn(lastLeaf >> BigInt(meeting));
  const seeds = oldSize === 1n << BigInt(height) ? 0 : 1; // A complete old tree is its own seed.
  const wanted = seeds + inner + edge;
  if (proof.length !== wanted) return wrongCount(wanted, proof.length);
  if (!proof.every(isHash)) return refused("a proof hash must be 32 bytes");
  const hashes = proof.map(parseHash);
  const seed = seeds === 0 ? parseHash(claim.oldRoot) : hashes[0];
  assert(seed !== undefined, "the count was checked");
  const turning = hashes.slice(seeds, seeds + inner);
  const rising = hashes.slice(seeds + inner);
  const path = lastLeaf >> BigInt(height);
  const oldRoot = climbEdge(climbLeftOnly(seed, turning, path), rising);
  if (!equalBytes(oldRoot, claim.oldRoot)) return refused("proof must lead to the old root");
  const newRoot = climbEdge(climb(seed, turning, path), rising);
  return equalBytes(newRoot, claim.newRoot) ? OK : refused("proof must lead to the new root");
};
