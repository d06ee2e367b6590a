/**
 * Answers that wait until cosignatures cover their records. One checkpoint covers every record below its size, so one
 * round of requests answers all that wait. At most as many wait as calls are under way, which their callers' bounds
 * limit.
 */
import { SigilFault } from "../errors.ts";

export type CoverageOptions = {
  readonly waitMs: number;
  /** Has the witnesses asked. */
  readonly want: () => void;
  /** How many more cosignatures a record needs. */
  readonly missing: (position: bigint) => number;
  /** An answer has waited. */
  readonly onWaited: (isCovered: boolean, elapsedMs: number) => void;
};

type Waiting = {
  readonly position: bigint;
  readonly resolve: () => void;
  readonly reject: (error: SigilFault) => void;
};

export class Coverage {
  readonly #options: CoverageOptions;
  readonly #waiting = new Set<Waiting>();
  /** Of the newest checkpoint that the policy accepts. */
  #size = 0n;
  #isEnded = false;

  constructor(options: CoverageOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** The policy accepts a checkpoint of this size. */
  extend(size: bigint): void {
    this.#size = size;
    for (const { position, resolve } of this.#waiting) if (position < size) resolve();
  }

  /**
   * Resolves when the record is covered; at once if it is. @throws notCosigned after `waitMs`; notServing; the reason
   * of the signal.
   */
  async require(position: bigint, signal: AbortSignal): Promise<void> {
    if (position < this.#size) return;
    const { waitMs, want, missing, onWaited } = this.#options;
    const startMs = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { position, resolve, reject };
    const late = (): void =>
      reject(new SigilFault({ kind: "notCosigned", missing: Math.max(1, missing(position)), waitMs }));
    const leave = (): void =>
      reject(signal.reason instanceof SigilFault ? signal.reason : new SigilFault({ kind: "cancelled" }));
    const timer = setTimeout(late, waitMs);
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.add(waiting);
    if (signal.aborted) leave();
    else if (this.#isEnded) reject(stopping());
    else want();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
      this.#waiting.delete(waiting);
      onWaited(position < this.#size, performance.now() - startMs);
    }
  }

  /** Nobody asks witnesses any more. */
  end(): void {
    this.#isEnded = true;
    for (const { reject } of this.#waiting) reject(stopping());
  }
}

const stopping = (): SigilFault => new SigilFault({ kind: "notServing", rule: "the server is stopping" });
