/**
 * The feed: the ledger's records in its order, as everybody takes them who lives from them, within the server
 * (`src/ledger/feed-source.ts`) or outside (the client's `watchVerified`). Pure.
 */
import type { Hash } from "../bytes.ts";
import type { Disclosures } from "./commitment.ts";
import type { RecordBody } from "./record.ts";

/** A record with the bytes that its hash and its proofs are over. */
export type PublishedRecord = {
  readonly position: bigint;
  readonly hash: Hash;
  /** Of its id, from 1. */
  readonly version: bigint;
  readonly body: RecordBody;
  readonly envelope: Uint8Array;
  /** What was disclosed of it, checked against its body: only where a reader who may see inputs asked for it. */
  readonly disclosures?: Disclosures;
};

export type FeedItem = {
  readonly position: bigint;
  /** Of the Merkle tree, 32 bytes: with every leaf a reader rebuilds the tree, erased records or not. */
  readonly leaf: Hash;
  /** Undefined when its tenant was erased: the leaf is all that is left. */
  readonly record: PublishedRecord | undefined;
};

export type FeedBatch = {
  /** In ledger order. */
  readonly items: readonly FeedItem[];
  /** The position to resume at. */
  readonly next: bigint;
  /** A signed note over a tree that holds every item. */
  readonly checkpoint: string;
};

/** Whether records come with what was disclosed of them. */
export type Disclosing = "withheld" | "included";

/** Where a reader of the feed takes it from. Ends quietly when `signal` aborts. */
export type ReadFeed = (from: bigint, call: { readonly signal: AbortSignal }) => AsyncIterable<FeedBatch>;
