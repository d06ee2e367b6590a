/** A projection in a database, before anything is asked of it: what commands and tests are handed. Types only. */
import type { StoredRows } from "./compare.ts";
import type { ProjectionStore, StoreOptions } from "./store.ts";

/** Each use connects, and ends its connection. */
export type ProjectionDatabase = {
  /** Its address for a person: without anything that is secret. */
  readonly description: string;
  /** @throws ProjectionFault: consumerRunning, databaseFailed; what `work` throws. */
  readonly withStore: <T>(options: StoreOptions, work: (store: ProjectionStore) => Promise<T>) => Promise<T>;
  /** @throws ProjectionFault: databaseFailed; what `work` throws. */
  readonly withStoredRows: <T>(work: (stored: StoredRows) => Promise<T>) => Promise<T>;
};
