/**
 * KeyedMutex at names: whoever takes one waits for all who asked before. Holds an entry for each name somebody is at.
 */
export class KeyedMutex {
  readonly #last = new Map<string, Promise<void>>();

  /** All names are locked in one step, in the order of the calls, so that there is no deadlock. */
  async runExclusive<Value>(names: readonly string[], act: () => Promise<Value>): Promise<Value> {
    const before = names.flatMap((name) => this.#last.get(name) ?? []);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    for (const name of names) this.#last.set(name, done);
    try {
      await Promise.all(before);
      return await act();
    } finally {
      for (const name of names) if (this.#last.get(name) === done) this.#last.delete(name);
      resolve();
    }
  }
}
