/** Who is told of what was committed: every record once, in ledger order, and before its caller is answered. */
import type { CommitListener, CommittedRecord } from "./options.ts";

export class Publishing {
  readonly #listeners = new Set<CommitListener>();
  readonly #onFault: (cause: unknown) => void;
  /** Every record below was shown to the listeners, or was there before them. */
  #size: bigint;

  constructor(size: bigint, onFault: (cause: unknown) => void) {
    this.#size = size;
    this.#onFault = onFault;
  }

  get size(): bigint {
    return this.#size;
  }

  /** @returns the unsubscriber. */
  subscribe(listener: CommitListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param size of the ledger with these records. What a listener throws is only reported. */
  publish(records: readonly CommittedRecord[], size: bigint): void {
    this.#size = size;
    for (const listener of this.#listeners) {
      try {
        listener(records);
      } catch (cause) {
        this.#onFault(cause);
      }
    }
  }
}
