/**
 * The end of a server in steps: announced, so that balancers look elsewhere while it serves on; then the drain. Whoever
 * is in a hurry goes on to the next step.
 */
export class Stopping {
  #isAnnounced = false;
  readonly #hurried = Promise.withResolvers<void>();
  #isWaiting = false;

  /** From here on health says so. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  /** Resolves after the delay, or when somebody is in a hurry. */
  async announce(delayMs: number): Promise<void> {
    this.#isAnnounced = true;
    if (delayMs === 0) return;
    this.#isWaiting = true;
    const timer = setTimeout(this.#hurried.resolve, delayMs);
    await this.#hurried.promise;
    clearTimeout(timer);
    this.#isWaiting = false;
  }

  /** @returns whether there was a delay to cut short. */
  hurry(): boolean {
    const wasWaiting = this.#isWaiting;
    this.#hurried.resolve();
    return wasWaiting;
  }
}
