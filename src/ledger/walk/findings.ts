/**
 * Problems that fsck found, by position. Signatures are verified concurrently in the thread pool, so findings arrive
 * out of order and are sorted at the end. Bounded: past `findingsMax` they are only counted.
 */
import { findingsMax, signaturesUnderWayMax } from "../../limits.ts";

/** A problem. `position` is null if it concerns no single record. */
export type Problem = {
  readonly position: bigint | null;
  readonly step: string;
  readonly rule: string;
};

const byPosition = (a: Problem, b: Problem): number => {
  if (a.position === b.position) return 0;
  if (a.position === null) return 1;
  if (b.position === null) return -1;
  return a.position < b.position ? -1 : 1;
};

export class Findings {
  readonly #problems: Problem[] = [];
  #first: Problem | undefined;
  #total = 0;
  #verifying: Promise<void>[] = [];
  readonly #verifyingMax: number;

  /** @param verifyingMax concurrent checks. */
  constructor(verifyingMax = signaturesUnderWayMax) {
    this.#verifyingMax = verifyingMax;
  }

  add(position: bigint | null, step: string, rule: string): void {
    const problem = { position, step, rule };
    this.#total += 1;
    if (this.#first === undefined || byPosition(problem, this.#first) < 0) this.#first = problem;
    if (this.#problems.length < findingsMax) this.#problems.push(problem);
  }

  /** Starts a check concurrently; resolves when another may start. */
  async beside(check: () => Promise<void>): Promise<void> {
    this.#verifying.push(check());
    if (this.#verifying.length >= this.#verifyingMax) await this.settle();
  }

  /** Resolves when all checks have ended. */
  async settle(): Promise<void> {
    const running = this.#verifying;
    this.#verifying = [];
    await Promise.all(running);
  }

  get total(): number {
    return this.#total;
  }

  /** The problem with the lowest position. */
  get first(): Problem | undefined {
    return this.#first;
  }

  sorted(): readonly Problem[] {
    return [...this.#problems].sort(byPosition);
  }
}
