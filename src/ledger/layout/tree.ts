/**
 * The Merkle tree on disk. Level 0 is stored as complete tiles of 256 leaf hashes; each tile's root is stored singly
 * one level up, and so on. Leaves of the incomplete tile are in the entries of their groups. So a record costs 32 bytes
 * and no extra put, and reading any node of any tree size reads one tile. Source: docs/spec/ledger.md.
 */
import { concatBytes, type Hash } from "@sigil/core/bytes";
import { assert, fail } from "../../errors.ts";
import { tileHashesMax, tileHeight } from "@sigil/core/limits";
import { appendLeaves, emptyFrontier, type Frontier, foldTile } from "@sigil/core/merkle";
import type { Store, StoreOp } from "../../storage/store.ts";
import { tileKey } from "./keyspace.ts";

const hashBytes = 32;
const tileSpan = BigInt(tileHashesMax);

/** The tree's state in memory: the peaks, and the leaves of the incomplete tile. */
export type TreeState = { readonly frontier: Frontier; readonly tail: readonly Hash[] };

export const emptyTree: TreeState = { frontier: emptyFrontier, tail: [] };

export type TreePlan = { readonly tree: TreeState; readonly ops: readonly StoreOp[] };

/** Plans appending `leaves`: writes to the store and the new state. Pure. */
export const planLeaves = (tree: TreeState, leaves: readonly Hash[]): TreePlan => {
  const { frontier, nodes } = appendLeaves(tree.frontier, leaves);
  const ops: StoreOp[] = [];
  for (const node of nodes) {
    if (node.level > 0 && node.level % tileHeight === 0) {
      ops.push({ kind: "put", key: tileKey(node.level / tileHeight, node.index), value: node.hash });
    }
  }
  let tail = [...tree.tail, ...leaves];
  let tileIndex = tree.frontier.size / tileSpan;
  while (tail.length >= tileHashesMax) {
    const full = tail.slice(0, tileHashesMax);
    ops.push({ kind: "put", key: tileKey(0, tileIndex), value: concatBytes(...full) });
    tail = tail.slice(tileHashesMax);
    tileIndex += 1n;
  }
  return { tree: { frontier, tail }, ops };
};

export const splitHashes = (bytes: Uint8Array): readonly Hash[] => {
  const hashes: Hash[] = [];
  for (let offset = 0; offset < bytes.length; offset += hashBytes) {
    hashes.push(bytes.slice(offset, offset + hashBytes) as Hash);
  }
  return hashes;
};

/** Rows of one folded tile: row k holds the nodes k levels above the leaves. */
type FoldedTile = readonly (readonly Hash[])[];

const foldRows = (hashes: readonly Hash[]): FoldedTile => {
  const rows: (readonly Hash[])[] = [hashes];
  for (let row = hashes; row.length > 1;) {
    const above: Hash[] = [];
    for (let index = 0; index + 1 < row.length; index += 2) {
      above.push(foldTile(row.slice(index, index + 2)));
    }
    rows.push(above);
    row = above;
  }
  return rows;
};

/** Cached folded tiles, 16 KiB each: listings read neighbouring positions. */
const foldedTilesMax = 64;

const upperNodesMax = 8192;

/** Reads nodes of complete subtrees: of the incomplete tile from memory, others from the store. */
export class TreeReader {
  readonly #store: () => Store;
  readonly #folded = new Map<bigint, FoldedTile>();
  /** Reads in flight, shared: the nodes of one proof are in the same tile, and so are the proofs of a page. */
  readonly #underWay = new Map<bigint, Promise<FoldedTile>>();
  /** Nodes of the incomplete tile by height and first leaf: its complete subtrees never change. */
  readonly #growing = new Map<number, Hash>();
  #growingTile = -1n;
  /** Nodes above level 7 by level and index: a complete subtree never changes. */
  readonly #upper = new Map<string, Hash>();

  constructor(store: () => Store) {
    this.#store = store;
  }

  /** Clears the caches: after a reopening no cached value may stand in for what is on disk. */
  forget(): void {
    this.#folded.clear();
    this.#underWay.clear();
    this.#growing.clear();
    this.#upper.clear();
  }

  /** @throws ledgerCorrupt if the store lacks a node that `tree` implies. */
  readHashes(tree: TreeState) {
    return async (
      nodes: readonly { readonly level: number; readonly index: bigint }[],
    ): Promise<readonly Hash[]> =>
      Promise.all(nodes.map(async (node) => this.#node(tree, node.level, node.index)));
  }

  async #node(tree: TreeState, level: number, index: bigint): Promise<Hash> {
    const tileLevel = Math.floor(level / tileHeight);
    const height = level % tileHeight;
    const first = index << BigInt(height);
    if (tileLevel === 0) return this.#leafNode(tree, first, height);
    const name = `${level}/${index}`;
    const known = this.#upper.get(name);
    if (known !== undefined) return known;
    const stored = await this.#store().getMany(
      Array.from({ length: 1 << height }, (_, step) => tileKey(tileLevel, first + BigInt(step))),
    );
    const hashes = stored.map((hash) =>
      hash?.length === hashBytes ? (hash as Hash) : this.#missing(first << BigInt(tileLevel * tileHeight)),
    );
    const folded = foldTile(hashes);
    if (this.#upper.size >= upperNodesMax) this.#upper.clear();
    this.#upper.set(name, folded);
    return folded;
  }

  async #leafNode(tree: TreeState, first: bigint, height: number): Promise<Hash> {
    const tileIndex = first / tileSpan;
    const offset = Number(first % tileSpan);
    const unfinished = (tree.frontier.size / tileSpan) * tileSpan;
    if (first >= unfinished) return this.#growingNode(tree, tileIndex, offset, height);
    const rows = await this.#tile(tileIndex);
    const hash = rows[height]?.[offset >> height];
    assert(hash !== undefined, "a whole tile has every node");
    return hash;
  }

  #growingNode(tree: TreeState, tileIndex: bigint, offset: number, height: number): Hash {
    if (tileIndex !== this.#growingTile) {
      this.#growing.clear();
      this.#growingTile = tileIndex;
    }
    const name = height * tileHashesMax + offset;
    const known = this.#growing.get(name);
    if (known !== undefined) return known;
    const hash = foldTile(tree.tail.slice(offset, offset + (1 << height)));
    this.#growing.set(name, hash);
    return hash;
  }

  async #tile(tileIndex: bigint): Promise<FoldedTile> {
    const known = this.#folded.get(tileIndex) ?? this.#underWay.get(tileIndex);
    if (known !== undefined) return known;
    const reading = this.#readTile(tileIndex).then(
      (rows) => {
        if (this.#isUnderWay(tileIndex, reading)) this.#keep(tileIndex, rows);
        return rows;
      },
      (error: unknown) => {
        if (this.#isUnderWay(tileIndex, reading)) this.#underWay.delete(tileIndex);
        throw error;
      },
    );
    this.#underWay.set(tileIndex, reading);
    return reading;
  }

  /** False if `forget` was called since it began: it may have read the previous store. */
  #isUnderWay(tileIndex: bigint, reading: Promise<FoldedTile>): boolean {
    return this.#underWay.get(tileIndex) === reading;
  }

  #keep(tileIndex: bigint, rows: FoldedTile): void {
    this.#underWay.delete(tileIndex);
    for (const oldest of this.#folded.keys()) {
      if (this.#folded.size < foldedTilesMax) break;
      this.#folded.delete(oldest);
    }
    this.#folded.set(tileIndex, rows);
  }

  async #readTile(tileIndex: bigint): Promise<FoldedTile> {
    const bytes = await this.#store().get(tileKey(0, tileIndex));
    if (bytes?.length !== tileHashesMax * hashBytes) return this.#missing(tileIndex * tileSpan);
    return foldRows(splitHashes(bytes));
  }

  #missing(position: bigint): never {
    return fail({
      kind: "ledgerCorrupt",
      position,
      rule: "a tile of the Merkle tree is missing or malformed",
    });
  }
}
