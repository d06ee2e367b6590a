/**
 * Unary calls are begun `callsPerTurn` a turn of the event loop. Worked off in one piece, a burst of them would keep the
 * signing thread, the disk and the callers waiting for its end, and then wait for them: all would take turns instead of
 * working at the same time. Bounded by the transport's stream limits.
 */
import { callsPerTurn } from "../record/limits.ts";

export class Turns {
  #left = callsPerTurn;
  #waiting: (() => void)[] = [];
  #isScheduled = false;

  /** @returns undefined when a call may begin at once, else a promise of its turn; first come, first served. */
  next(): Promise<void> | undefined {
    this.#schedule();
    if (this.#left > 0) {
      this.#left -= 1;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      const begun = this.#waiting.slice(0, callsPerTurn);
      this.#waiting = this.#waiting.slice(begun.length);
      this.#left = callsPerTurn - begun.length;
      if (begun.length > 0) this.#schedule();
      for (const begin of begun) begin();
    });
  }
}
