/**
 * Shutdown in two steps: announced, so that load balancers stop sending calls while it still serves; then the drain.
 * The delay between them can be skipped.
 */
export class Stopping {
  #isAnnounced = false;
  readonly #delayOver = Promise.withResolvers<void>();
  #isWaiting = false;

  /** From here on health reports NOT_SERVING. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  /** Resolves after the delay, or when `skipDelay` is called. */
  async announce(delayMs: number): Promise<void> {
    this.#isAnnounced = true;
    if (delayMs === 0) return;
    this.#isWaiting = true;
    const timer = setTimeout(this.#delayOver.resolve, delayMs);
    await this.#delayOver.promise;
    clearTimeout(timer);
    this.#isWaiting = false;
  }

  /** @returns whether a delay was in progress. */
  skipDelay(): boolean {
    const wasWaiting = this.#isWaiting;
    this.#delayOver.resolve();
    return wasWaiting;
  }
}
