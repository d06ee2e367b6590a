/**
 * The feed as relays read it. The server passes its own (`wire/relays.ts`), a process of relays that of a server
 * (`cli/relay/server-feed.ts`). Pure.
 */
import type { Hash } from "@sigil/core/bytes";
import type { ReadFeed } from "@sigil/core/record";

export type FeedSource = {
  readonly origin: string;
  /** Ledger size in records. */
  readonly size: () => bigint;
  /**
   * From a position up to the size, unbounded; ends when `signal` aborts. May leave out records that the relay's filter
   * does: a batch's `next` then lies beyond its items.
   */
  readonly from: ReadFeed;
  /** Whether a position below the size has this Merkle leaf, in hex; of erased records too. */
  readonly hasLeaf: (
    position: bigint,
    leaf: string,
    call: { readonly signal: AbortSignal },
  ) => Promise<boolean>;
  /**
   * Called with an operator's reset: a past of the ledger that was refused because another had been proved is taken.
   * Undefined where there can be only one.
   */
  readonly acceptPast?: () => Promise<void>;
  /** Of the record with this hash; undefined if there is none, or none any more. */
  readonly positionOf: (hash: Hash, call: { readonly signal: AbortSignal }) => Promise<bigint | undefined>;
};
