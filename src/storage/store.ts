/**
 * The storage contract: an ordered map from bytes to bytes with ranges, snapshots and one atomic, durable write.
 * Every adapter passes `test/contract/store.ts`; nothing above this folder knows which adapter runs.
 *
 * Keys are ordered bytewise, a prefix before what it begins. Keys are not empty; values may be. Bytes are copied
 * or owned on the way in and out: a caller may reuse what it passed and change what it got.
 *
 * Errors: storeLocked when another holder has the place, storeFailed for everything else. A `commit` that
 * throws is indeterminate: it may be on disk whole, never in part.
 */
import { toHex } from "@sigil/core/bytes";
import { assert, fail } from "../errors.ts";

/** One write of a batch. A delete of an absent key does nothing. */
export type StoreOp =
  | { readonly kind: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: "delete"; readonly key: Uint8Array };

/** The store as it was at one moment. Closing it twice is allowed; a closed store closes its snapshots. */
export type StoreSnapshot = AsyncDisposable & {
  readonly close: () => Promise<void>;
};

export type ReadOptions = {
  /** Read as of this snapshot instead of now. */
  readonly snapshot?: StoreSnapshot | undefined;
};

export type RangeOptions = ReadOptions & {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  /** From the highest key down. */
  readonly reverse?: boolean | undefined;
  /** Entries at most; without it, all of them. */
  readonly limit?: number | undefined;
};

/** From the first key on, below the second. */
export type KeyRange = { readonly gte: Uint8Array; readonly lt: Uint8Array };

export type StoreEntry = readonly [key: Uint8Array, value: Uint8Array];

export type Store = AsyncDisposable & {
  /** @returns undefined when the key is absent. @throws storeFailed. */
  readonly get: (key: Uint8Array, options?: ReadOptions) => Promise<Uint8Array | undefined>;
  /** @returns one slot a key, in the order asked. @throws storeFailed. */
  readonly getMany: (
    keys: readonly Uint8Array[],
    options?: ReadOptions,
  ) => Promise<readonly (Uint8Array | undefined)[]>;
  /** Entries with gte ≤ key < lt as they were when iteration began. @throws storeFailed while iterating. */
  readonly range: (options: RangeOptions) => AsyncIterable<StoreEntry>;
  /**
   * All of the batch or none of it, in order, on disk before it resolves. @throws storeFailed.
   * The batch and its bytes must not change until then. A key is put or deleted in one batch, never both: which of the
   * two would stay is the order's accident, and a put that a delete follows is lost without a trace.
   */
  readonly commit: (batch: readonly StoreOp[]) => Promise<void>;
  /**
   * Lets go of what was deleted in these ranges: afterwards no file of the store holds it any more. Ends with the store
   * closed, since files that name keys are only written anew when it opens. What a file system kept is out of reach.
   * @param beforeClosing while it runs nobody should begin to use the store. @throws storeFailed: the store is closed,
   * or still open when `beforeClosing` has not run.
   */
  readonly purge: (ranges: readonly KeyRange[], beforeClosing: () => Promise<void>) => Promise<void>;
  /**
   * Writes out what a buffer holds: what was committed before is read from the store's files afterwards.
   * @throws storeFailed.
   */
  readonly flush: () => Promise<void>;
  /** @throws storeFailed when the store is closed. */
  readonly snapshot: () => StoreSnapshot;
  /** Waits for work under way, then releases the place. Idempotent. */
  readonly close: () => Promise<void>;
};

/** The rule of a storeFailed when the database finds its own files damaged. */
export const damagedFilesRule = "damaged database files";

const assertNothingPutIsDeleted = (batch: readonly StoreOp[]): void => {
  const deleted = new Set<string>();
  for (const op of batch) if (op.kind === "delete") deleted.add(toHex(op.key));
  if (deleted.size === 0) return;
  const isBoth = batch.some((op) => op.kind === "put" && deleted.has(toHex(op.key)));
  assert(!isBoth, "a batch puts and deletes one key");
};

/** What every adapter checks before it writes anything. @throws storeFailed when a key is empty. */
export const checkBatch = (batch: readonly StoreOp[]): void => {
  if (batch.some((op) => op.key.length === 0)) {
    fail({ kind: "storeFailed", step: "commit", rule: "a key is empty" });
  }
  assertNothingPutIsDeleted(batch);
};
