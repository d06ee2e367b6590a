/** A store that counts what is read of it, for tests that say how much one call reads. */
import type { Store } from "../../src/storage/store.ts";

/** Keys read one by one or together, and ranges begun. */
export type Reads = { readonly gets: number; readonly ranges: number };

export type CountingStore = Store & {
  /** What was read since it was asked last. */
  readonly taken: () => Reads;
};

export const createCountingStore = (inner: Store): CountingStore => {
  let [gets, ranges] = [0, 0];
  return {
    get: (key, options) => {
      gets += 1;
      return inner.get(key, options);
    },
    getMany: (keys, options) => {
      gets += keys.length;
      return inner.getMany(keys, options);
    },
    range: (options) => {
      ranges += 1;
      return inner.range(options);
    },
    taken: () => {
      const reads = { gets, ranges };
      [gets, ranges] = [0, 0];
      return reads;
    },
    commit: (batch) => inner.commit(batch),
    purge: (ranges, beforeClosing) => inner.purge(ranges, beforeClosing),
    flush: () => inner.flush(),
    snapshot: () => inner.snapshot(),
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
  };
};
