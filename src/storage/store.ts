/**
 * The storage contract: an ordered map from bytes to bytes with ranges, snapshots and one atomic, durable write.
 * Every adapter passes `test/contract/store.ts`; nothing above this folder knows which adapter runs.
 *
 * Keys are ordered bytewise, a prefix before longer keys. Keys are not empty; values may be. Bytes are copied or owned
 * on the way in and out: a caller may reuse what it passed and modify what it got.
 *
 * Errors: storeLocked if the store is in use elsewhere, storeFailed for everything else. A `commit` that throws is
 * indeterminate: the whole batch may be on disk, or none of it.
 */
import { toHex } from "@sigil/core/bytes";
import { assert, fail } from "../errors.ts";

/** One write of a batch. A delete of an absent key does nothing. */
export type StoreOp =
  | { readonly kind: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: "delete"; readonly key: Uint8Array };

/** A consistent view of the store. Close is idempotent; closing the store closes its snapshots. */
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
  /** Descending order. */
  readonly reverse?: boolean | undefined;
  /** Maximum entries; default all. */
  readonly limit?: number | undefined;
};

/** `gte` inclusive, `lt` exclusive. */
export type KeyRange = { readonly gte: Uint8Array; readonly lt: Uint8Array };

export type StoreEntry = readonly [key: Uint8Array, value: Uint8Array];

export type Store = AsyncDisposable & {
  /** @returns undefined if the key is absent. @throws storeFailed. */
  readonly get: (key: Uint8Array, options?: ReadOptions) => Promise<Uint8Array | undefined>;
  /** @returns one slot per key, in the order requested. @throws storeFailed. */
  readonly getMany: (
    keys: readonly Uint8Array[],
    options?: ReadOptions,
  ) => Promise<readonly (Uint8Array | undefined)[]>;
  /** Entries with gte ≤ key < lt as of the start of the iteration. @throws storeFailed while iterating. */
  readonly range: (options: RangeOptions) => AsyncIterable<StoreEntry>;
  /**
   * Writes the batch atomically and in order; durable when it resolves. @throws storeFailed. The batch and its bytes
   * must not change until then. A batch must not both put and delete a key: the result would depend on their order, and
   * a put followed by a delete would be lost silently.
   */
  readonly commit: (batch: readonly StoreOp[]) => Promise<void>;
  /**
   * Compacts the ranges: afterwards no file of the store contains data deleted from them. Closes the store, since files
   * that name keys are only rewritten when it opens. Copies kept by the file system are out of reach.
   * @param beforeClosing from its call on no new use of the store may begin.
   * @throws storeFailed: the store is closed, or still open if `beforeClosing` has not run.
   */
  readonly purge: (ranges: readonly KeyRange[], beforeClosing: () => Promise<void>) => Promise<void>;
  /**
   * Flushes write buffers: earlier commits are then read from the store's files.
   * @throws storeFailed.
   */
  readonly flush: () => Promise<void>;
  /** @throws storeFailed if the store is closed. */
  readonly snapshot: () => StoreSnapshot;
  /** Waits for work in progress, then releases the store's lock. Idempotent. */
  readonly close: () => Promise<void>;
};

/** The rule of a storeFailed if the database finds its own files damaged. */
export const damagedFilesRule = "damaged database files";

const assertNothingPutIsDeleted = (batch: readonly StoreOp[]): void => {
  const deleted = new Set<string>();
  for (const op of batch) if (op.kind === "delete") deleted.add(toHex(op.key));
  if (deleted.size === 0) return;
  const isBoth = batch.some((op) => op.kind === "put" && deleted.has(toHex(op.key)));
  assert(!isBoth, "a batch puts and deletes one key");
};

/** Checks that every adapter runs before writing. @throws storeFailed if a key is empty. */
export const checkBatch = (batch: readonly StoreOp[]): void => {
  if (batch.some((op) => op.key.length === 0)) {
    fail({ kind: "storeFailed", step: "commit", rule: "a key is empty" });
  }
  assertNothingPutIsDeleted(batch);
};
