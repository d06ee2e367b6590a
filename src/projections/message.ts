/**
 * What a projection reads, whatever brings it: places of the ledger as messages of ordered lanes. A feed is one lane; a
 * broker has one a stream, a partition or a group. Pure.
 */

/** One place of the ledger. */
export type LaneMessage = {
  readonly lane: string;
  readonly position: bigint;
  /** Position of the message before it in its lane; null for the lane's first. */
  readonly prev: bigint | null;
  /** Of the Merkle tree, 32 bytes: what is left of a record whose tenant was erased. */
  readonly leaf: Uint8Array;
  /** Absent where its tenant was erased. */
  readonly envelope?: Uint8Array;
  /** What opens its commitments, as canonical CBOR: checked with the record, and stored nowhere. */
  readonly disclosures?: Uint8Array;
  /** The envelope is elsewhere, being too large for the lane: it is to be fetched before the consumer takes it. */
  readonly isReference?: boolean;
  /** A signed note that came with it, of any size. */
  readonly checkpoint?: string;
};

export type LaneBatch = {
  /** Each lane in its order; at least once. */
  readonly messages: readonly LaneMessage[];
  /** A signed note that came by itself. */
  readonly checkpoint?: string;
  /** Of several lanes: every position below was brought by now. What is missing there will not come. */
  readonly settled?: bigint;
  /**
   * Nothing more is under way for now: of several lanes what is missing below the newest position will not come, and a
   * source that tells no size has given what there is.
   */
  readonly isDrained?: true;
};

/** Where a lane is resumed. */
export type LaneCursor = { readonly position: bigint };

export type LaneSource = {
  /**
   * Every message after the cursors, for ever or until the source has no more; ends quietly when `signal` aborts.
   * @param lanes by name; a lane without a cursor is read from its beginning.
   */
  readonly after: (
    lanes: ReadonlyMap<string, LaneCursor>,
    call: { readonly signal: AbortSignal },
  ) => AsyncIterable<LaneBatch>;
  /**
   * Told before the first message, and whenever more is on disk: every position below `next`. For a source that lets go
   * of what was stored and of nothing else.
   */
  readonly stored?: (next: bigint) => void;
};
