/**
 * A tree of which some leaves are known, in ascending order: between them stand complete subtrees, the fewest that
 * fill the gap, so that one run over both gives the root. Pure. At most 64 peaks in memory, and 126 hashes a gap; none
 * where leaves stand next to each other. Source: docs/spec/pack.md §6.
 */
import type { Hash } from "../bytes.ts";
import { invalidField } from "../errors.ts";
import type { ReadHashes } from "../merkle/proof.ts";
import {
  appendLeaves,
  appendSubtree,
  emptyFrontier,
  rootOf,
  subtreesOf,
  type Frontier,
} from "../merkle/tree.ts";

export class SparseTree {
  readonly #read: ReadHashes;
  #frontier: Frontier = emptyFrontier;

  /** @param read the subtrees of a gap, left to right. */
  constructor(read: ReadHashes) {
    this.#read = read;
  }

  /** @throws invalidField unless the position is after all that were added. */
  async add(position: bigint, leaf: Hash): Promise<void> {
    await this.#fill(position);
    this.#frontier = appendLeaves(this.#frontier, [leaf]).frontier;
  }

  /** Ends the tree. */
  async close(size: bigint): Promise<Hash> {
    await this.#fill(size);
    return rootOf(this.#frontier);
  }

  async #fill(to: bigint): Promise<void> {
    if (to < this.#frontier.size) invalidField("position", "must be in ascending order");
    const gap = subtreesOf(this.#frontier.size, to);
    if (gap.length === 0) return;
    const hashes = await this.#read(gap);
    for (const [index, { level }] of gap.entries()) {
      this.#frontier = appendSubtree(this.#frontier, { level, hash: hashes[index] as Hash });
    }
  }
}
