/**
 * Whether the page may ask: while it is seen, and nobody has paused it. What waits at a closed gate is never dropped.
 */

export class Gate {
  #isPaused = false;
  #waiting: (() => void)[] = [];

  /** Opens it when the page is seen again, until `signal` aborts. */
  watch(signal: AbortSignal): void {
    document.addEventListener("visibilitychange", () => this.#tell(), { signal });
  }

  get isOpen(): boolean {
    return !this.#isPaused && document.visibilityState === "visible";
  }

  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#tell();
  }

  /** Resolves when it is open. */
  readonly opened = (): Promise<void> =>
    this.isOpen ? Promise.resolve() : new Promise((resolve) => void this.#waiting.push(resolve));

  #tell(): void {
    if (!this.isOpen) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
