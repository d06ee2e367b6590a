/** What every database of a projection does, whichever it is: one contract, one suite of tests. Pure, types only. */
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

/** What is taken together: rows and cursors are on disk together, or neither is. */
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
  /** In one transaction. @throws ProjectionFault: cursorMoved, unstorable, databaseFailed. */
  readonly apply: (gathered: Gathered) => Promise<readonly ErasedRows[]>;
  /**
   * It has caught up: makes indexes, and shows it to those who ask. Idempotent.
   * @throws ProjectionFault: withheld, databaseFailed.
   */
  readonly publish: () => Promise<void>;
};
