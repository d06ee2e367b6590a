/** Tracks calls in progress, for graceful shutdown. Bounded by the transport's stream limits. */
export class CallsUnderWay {
  #count = 0;
  #draining = false;
  readonly #streams = new Set<() => void>();
  #becameIdle: (() => void) | undefined;
  #idle: Promise<void> | undefined;

  get count(): number {
    return this.#count;
  }

  get draining(): boolean {
    return this.#draining;
  }

  enter(): void {
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count === 0) this.#becameIdle?.();
  }

  /** Registers a stream to be told to stop reading on shutdown. @returns the unsubscriber. */
  onDrain(stop: () => void): () => void {
    this.#streams.add(stop);
    return () => this.#streams.delete(stop);
  }

  /** Idempotent. Resolves when no call is in progress. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#idle ??=
      this.#count === 0 ? Promise.resolve() : new Promise((resolve) => (this.#becameIdle = resolve));
    for (const stop of this.#streams) stop();
    return this.#idle;
  }
}
