/** What every database of a projection does, whichever it is: one contract, one suite of tests. Pure, types only. */
import type { Hash } from "@sigil/core/bytes";
import type { KeyRecord } from "@sigil/core/verify";
import type { Place, Progress } from "./consumer.ts";

/** What a projection knows of itself when it is opened. */
export type Resumed = {
  readonly progress: Progress;
  /** Genesis, and every record about keys below `progress.next`: they are walked anew. */
  readonly keyRecords: readonly KeyRecord[];
  /** The newest signed note that was stored with them. */
  readonly checkpoint: string | undefined;
};

/** What is taken together: a cursor is on disk only where the rows below it are. */
export type Gathered = {
  /** In ledger order, the first at `from`. */
  readonly places: readonly Place[];
  readonly from: bigint;
  readonly progress: Progress;
  /** The newest signed note whose root was compared. */
  readonly checkpoint: string | undefined;
};

/** Rows of a tenant that an erasure took away, and how many records they were. */
export type ErasedRows = { readonly tenant: string; readonly records: bigint };

export type ProjectionStore = {
  /** @throws ProjectionFault: otherLedger, projectionDamaged, databaseFailed. */
  readonly resume: () => Promise<Resumed>;
  /**
   * In one transaction where the database has them; otherwise the cursor last, so that what is above it after a crash
   * is taken again. @throws ProjectionFault: consumerRunning, cursorMoved, unstorable, databaseFailed.
   */
  readonly apply: (gathered: Gathered) => Promise<readonly ErasedRows[]>;
  /**
   * It has caught up: makes indexes, and shows it to those who ask. Idempotent.
   * @throws ProjectionFault: withheld, databaseFailed.
   */
  readonly publish: () => Promise<void>;
};

export type StoreOptions = {
  /** Hash of the genesis record. */
  readonly genesis: Hash;
  /** `rebuild` fills beside what is there, from position 0, and takes its place when it has caught up. */
  readonly mode: "resume" | "rebuild";
  /** How long another consumer is waited for: `projectionLockMs` unless told. */
  readonly lockMs?: number;
};
