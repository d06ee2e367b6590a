/** Progress of long work in one line: done, rate, and estimated time left. */

export type Work = {
  /** Name of the step. */
  readonly step: string;
  readonly done: bigint;
  readonly total: bigint;
};

/** Minimum time before a rate is shown; earlier it is dominated by startup. */
const settledMs = 1000;

const inWords = (seconds: number): string => {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

/** Tracks the start of the current step. */
export class Pace {
  readonly #nowMs: () => number;
  #step = "";
  #from = { done: 0n, ms: 0 };

  /** @param nowMs a monotonic clock. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** "records: 120000 of 1000000 (12 %), 8123 a second, 2 min left". Restarts with each new step. */
  describe({ step, done, total }: Work): string {
    const nowMs = this.#nowMs();
    if (step !== this.#step || done < this.#from.done) {
      this.#step = step;
      this.#from = { done, ms: nowMs };
    }
    const percent = total === 0n ? 100n : (done * 100n) / total;
    const far = `${step}: ${done} of ${total} (${percent} %)`;
    const ms = nowMs - this.#from.ms;
    const came = Number(done - this.#from.done);
    if (ms < settledMs || came === 0) return far;
    const rate = (came * 1000) / ms;
    const rated = `${far}, ${Math.round(rate)} a second`;
    return done >= total ? rated : `${rated}, ${inWords(Number(total - done) / rate)} left`;
  }
}
