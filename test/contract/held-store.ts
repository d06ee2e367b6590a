/** A store whose batches wait as long as it is held, for tests of what happens meanwhile. */
import type { Store } from "../../src/storage/store.ts";

export class Hold {
  #gate: PromiseWithResolvers<void> | undefined;
  #reached = Promise.withResolvers<void>();

  /** @returns what resolves as soon as a batch waits. */
  begin(): Promise<void> {
    this.#gate = Promise.withResolvers();
    this.#reached = Promise.withResolvers();
    return this.#reached.promise;
  }

  end(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  over(inner: Store): Store {
    return {
      get: (key, options) => inner.get(key, options),
      getMany: (keys, options) => inner.getMany(keys, options),
      range: (options) => inner.range(options),
      commit: async (batch) => {
        if (this.#gate !== undefined) this.#reached.resolve();
        await this.#gate?.promise;
        return inner.commit(batch);
      },
      purge: (ranges, beforeClosing) => inner.purge(ranges, beforeClosing),
      flush: () => inner.flush(),
      snapshot: () => inner.snapshot(),
      close: () => inner.close(),
      [Symbol.asyncDispose]: () => inner.close(),
    };
  }
}
