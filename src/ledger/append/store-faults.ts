/**
 * A store wrapper that reports every failing call, reads and writes alike. A report names the store that failed, since
 * a store that has been replaced may still fail late.
 */
import type { Store } from "../../storage/store.ts";

export const watchStore = (store: Store, onError: (cause: unknown, failed: Store) => void): Store => {
  const watching = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      onError(cause, watched);
      throw cause;
    }
  };
  const watched: Store = {
    get: (key, options) => watching(() => store.get(key, options)),
    getMany: (keys, options) => watching(() => store.getMany(keys, options)),
    commit: (batch) => watching(() => store.commit(batch)),
    async *range(options) {
      try {
        yield* store.range(options);
      } catch (cause) {
        onError(cause, watched);
        throw cause;
      }
    },
    purge: (ranges, beforeClosing) => watching(() => store.purge(ranges, beforeClosing)),
    flush: () => watching(() => store.flush()),
    snapshot: () => store.snapshot(),
    close: () => store.close(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
  return watched;
};
