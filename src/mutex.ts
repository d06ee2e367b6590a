/** One piece of work at a time, in the order of the calls; one that fails lets the next go on. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** @throws what the work throws. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
