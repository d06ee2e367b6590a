/**
 * Heartbeats of one watch. With a proof each of them is consistent with the one before, and what is sent afterwards is
 * proved against its tree: a caller that trusts nobody verifies as it reads, and holds one checkpoint.
 */
import type { Hash } from "@sigil/core/bytes";
import type { SignedTree } from "../../ledger/read/signed-trees.ts";
import type { WatchEvent, WatchQuery } from "../domain.ts";

export type WatchClock = { readonly nowMs: () => number; readonly monotonicMs: () => number };

type Heartbeat = Extract<WatchEvent, { readonly kind: "heartbeat" }>;

export class Beats {
  readonly #ledger: { readonly tree: SignedTree };
  readonly #query: Pick<WatchQuery, "heartbeatMs" | "proof">;
  readonly #clock: WatchClock;
  #beatMs = Number.NEGATIVE_INFINITY;
  /** Of the checkpoint that was sent last. */
  #tree: SignedTree | undefined;
  /** Size of the tree that the next one must begin with. */
  #known: bigint | undefined;

  constructor(
    ledger: { readonly tree: SignedTree },
    query: Pick<WatchQuery, "heartbeatMs" | "proof" | "knownSize">,
    clock: WatchClock,
  ) {
    this.#ledger = ledger;
    this.#query = query;
    this.#clock = clock;
    this.#known = query.knownSize;
  }

  /** Milliseconds until the next heartbeat is due. */
  get idleMs(): number {
    return this.#query.heartbeatMs - (this.#clock.monotonicMs() - this.#beatMs);
  }

  /** @throws sizeOutOfRange when the caller knows a larger tree than there is. */
  async beat(next: bigint): Promise<Heartbeat> {
    this.#beatMs = this.#clock.monotonicMs();
    const tree = this.#ledger.tree;
    const { checkpoint } = tree;
    const beat = { kind: "heartbeat", checkpoint, timeMs: this.#clock.nowMs(), next } as const;
    if (this.#query.proof === "none") return beat;
    const proof = this.#known === undefined ? [] : await tree.proveConsistency(this.#known);
    this.#tree = tree;
    this.#known = tree.size;
    return { ...beat, proof };
  }

  /** The heartbeat that must come before a record, if the last one's tree does not hold it. */
  async before(position: bigint, next: bigint): Promise<Heartbeat | undefined> {
    const isHeld = this.#query.proof === "none" || (this.#tree !== undefined && position < this.#tree.size);
    return isHeld ? undefined : this.beat(next);
  }

  /** In the tree of the last heartbeat. */
  async proof(position: bigint): Promise<{ readonly proof?: readonly Hash[] }> {
    return this.#tree === undefined ? {} : { proof: await this.#tree.proveInclusion(position) };
  }
}
