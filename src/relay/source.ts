/** The feed as relays read it: the server passes its own (`wire/relays.ts`). Pure. */
import type { ReadFeed } from "@sigil/core/record";

export type FeedSource = {
  readonly origin: string;
  /** Ledger size in records. */
  readonly size: () => bigint;
  /** From a position up to the size, unbounded; ends when `signal` aborts. */
  readonly from: ReadFeed;
};
