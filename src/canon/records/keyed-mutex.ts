/** A mutex per name, FIFO. Holds an entry for each name in use. */
export class KeyedMutex {
  readonly #last = new Map<string, Promise<void>>();

  /** Locks all names in one step, in call order, so that there is no deadlock. */
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
