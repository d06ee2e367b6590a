/**
 * The one place where order is made. Callers' units wait in a bounded queue; a group of what is waiting is signed in
 * the thread pool while the group before it is being written; then it gets positions, one synchronous batch, and
 * only then its callers get their answer. At most 256 records or 1 MiB a group, one unit of up to 1,000 at least.
 * Nobody waits for a timer: an idle sequencer takes a unit in the same turn of the event loop.
 * Work that must be alone (a key that changes) gets a turn in which nothing is signed or written; the queue waits.
 */
import { SigilFault, type SigilError } from "../record/errors.ts";
import {
  appendQueueBytesMax,
  appendQueueRecordsMax,
  groupBytesMax,
  groupRecordsMax,
} from "../record/limits.ts";
import type { StoreOp } from "../storage/store.ts";
import type { Appended, SignedUnit, UnitOutcome } from "./commit.ts";
import type { PreparedRecord, SignedRecord } from "./prepare.ts";

/** What one caller wants committed, all or none. */
export type AppendUnit = {
  readonly records: readonly PreparedRecord[];
  readonly extraOps?: ((appended: readonly Appended[]) => readonly StoreOp[]) | undefined;
  /** Aborting drops the unit if it has not been sequenced; afterwards it changes nothing. */
  readonly signal?: AbortSignal | undefined;
};

type Waiting = AppendUnit & {
  readonly bytes: number;
  readonly resolve: (appended: readonly Appended[]) => void;
  readonly reject: (error: SigilFault) => void;
};

export type SequencerSteps = {
  readonly sign: (record: PreparedRecord) => Promise<SignedRecord>;
  /**
   * Plans and writes one group. Throws `GroupFailed` when it could not be; "indeterminate" says that the write may
   * have happened.
   */
  readonly commit: (units: readonly SignedUnit[]) => Promise<readonly UnitOutcome[]>;
};

/** Why a whole group failed. */
export class GroupFailed extends Error {
  readonly error: SigilError;
  constructor(error: SigilError, options?: ErrorOptions) {
    super(error.kind, options);
    this.error = error;
  }
}

/** What can be seen of the queue from outside. */
export type SequencerGauge = { readonly queuedRecords: number; readonly queuedBytes: number };

/** Below this many a second sync costs more than it overlaps. */
const splitRecordsMin = 16;

/**
 * A burst that finds nothing under way is halved: one half is signed while the other is written. Taken whole, callers
 * that wait for each other's group stay in step for ever, and disk and processor take turns.
 */
const firstGroupRecords = (queuedRecords: number): number =>
  queuedRecords < splitRecordsMin ? groupRecordsMax : Math.min(groupRecordsMax, Math.ceil(queuedRecords / 2));

const noOps = (): readonly StoreOp[] => [];
const cancelled = (): SigilFault => new SigilFault({ kind: "cancelled" });

export class Sequencer {
  readonly #steps: SequencerSteps;
  readonly #onGroup: (records: number) => void;
  #queue: Waiting[] = [];
  #queuedRecords = 0;
  #queuedBytes = 0;
  #signing = false;
  /** Groups being signed or written. */
  #groups = 0;
  #scheduled = false;
  #writing: Promise<void> = Promise.resolve();
  /** Exclusive turns that wait or run. While there is one, no group is taken. */
  #turns = 0;
  #turn: Promise<void> = Promise.resolve();
  /** Set while nothing may be taken; new units are refused with it. */
  #stopped: SigilError | undefined;
  /** Set when no more units come in, while those that wait are still answered. */
  #finishing: SigilError | undefined;

  constructor(steps: SequencerSteps, onGroup: (records: number) => void = () => {}) {
    this.#steps = steps;
    this.#onGroup = onGroup;
  }

  get gauge(): SequencerGauge {
    return { queuedRecords: this.#queuedRecords, queuedBytes: this.#queuedBytes };
  }

  /** @throws queueFull, notServing, cancelled, indeterminate, staleVersion. */
  append(unit: AppendUnit): Promise<readonly Appended[]> {
    const refused = this.#stopped ?? this.#finishing;
    if (refused !== undefined) return Promise.reject(new SigilFault(refused));
    if (unit.signal?.aborted === true) return Promise.reject(cancelled());
    const bytes = unit.records.reduce((sum, record) => sum + record.bodyBytes.length, 0);
    if (this.#queuedRecords + unit.records.length > appendQueueRecordsMax)
      return refuseFull(appendQueueRecordsMax);
    if (this.#queuedBytes + bytes > appendQueueBytesMax) return refuseFull(appendQueueBytesMax);
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...unit, bytes, resolve, reject });
      this.#queuedRecords += unit.records.length;
      this.#queuedBytes += bytes;
      this.#schedule();
    });
  }

  /**
   * Runs `work` when no group is being signed or written, one at a time; what waits in the queue goes on waiting.
   * @throws notServing, and whatever the work throws.
   */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const refused = this.#stopped ?? this.#finishing;
    if (refused !== undefined) throw new SigilFault(refused);
    this.#turns += 1;
    const turn = this.#turn.then(async () => {
      // The last group under way: none begins while there is a turn.
      await this.#writing;
      if (this.#stopped !== undefined) throw new SigilFault(this.#stopped);
      return work();
    });
    this.#turn = turn
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        this.#turns -= 1;
        this.#schedule();
      });
    return turn;
  }

  /** Refuses what waits and what comes, until `resume`. */
  stop(error: SigilError): void {
    this.#stopped = error;
    const dropped = this.#queue;
    this.#queue = [];
    this.#queuedRecords = 0;
    this.#queuedBytes = 0;
    for (const waiting of dropped) waiting.reject(new SigilFault(error));
  }

  resume(): void {
    this.#stopped = undefined;
  }

  /** Refuses what comes, for good, and resolves when everything that was waiting has its answer. */
  finish(error: SigilError): Promise<void> {
    this.#finishing = error;
    return this.drain();
  }

  /** Resolves when everything that was waiting has its answer. */
  async drain(): Promise<void> {
    while (this.#queue.length > 0 || this.#signing || this.#scheduled || this.#turns > 0) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      await this.#turn;
      await this.#writing;
    }
    await this.#writing;
  }

  /** After the I/O of this turn, so that calls that arrived together share a group. */
  #schedule(): void {
    if (this.#scheduled || this.#signing || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#turns > 0) return;
      const group = this.#take(this.#groups === 0 ? firstGroupRecords(this.#queuedRecords) : groupRecordsMax);
      if (group.length > 0) this.#run(group);
    });
  }

  #take(recordsMax: number): readonly Waiting[] {
    const group: Waiting[] = [];
    let records = 0;
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#queue) {
      const fits = records + waiting.records.length <= recordsMax && bytes + waiting.bytes <= groupBytesMax;
      if (group.length > 0 && !fits) break;
      taken += 1;
      this.#queuedRecords -= waiting.records.length;
      this.#queuedBytes -= waiting.bytes;
      if (waiting.signal?.aborted === true) {
        waiting.reject(cancelled());
        continue;
      }
      group.push(waiting);
      records += waiting.records.length;
      bytes += waiting.bytes;
    }
    this.#queue = this.#queue.slice(taken);
    return group;
  }

  #run(group: readonly Waiting[]): void {
    this.#signing = true;
    this.#groups += 1;
    const before = this.#writing;
    this.#writing = (async () => {
      let units: readonly SignedUnit[] | SigilError;
      try {
        units = await this.#sign(group);
      } catch {
        units = { kind: "keyUnavailable", rule: "signing failed" };
      }
      // The group before may still be on its way to the disk; order is made here.
      await before;
      this.#signing = false;
      this.#schedule();
      if ("kind" in units) return rejectAll(group, units);
      if (this.#stopped !== undefined) return rejectAll(group, this.#stopped);
      await this.#commit(group, units);
    })().finally(() => {
      this.#groups -= 1;
    });
  }

  async #sign(group: readonly Waiting[]): Promise<readonly SignedUnit[]> {
    return Promise.all(
      group.map(async (waiting) => ({
        records: await Promise.all(waiting.records.map(this.#steps.sign)),
        extraOps: waiting.extraOps ?? noOps,
      })),
    );
  }

  async #commit(group: readonly Waiting[], units: readonly SignedUnit[]): Promise<void> {
    let outcomes: readonly UnitOutcome[];
    try {
      outcomes = await this.#steps.commit(units);
    } catch (cause) {
      const error: SigilError =
        cause instanceof GroupFailed ? cause.error : { kind: "indeterminate", rule: "the commit failed" };
      return rejectAll(group, error, cause);
    }
    let records = 0;
    // The batch is on disk: a crash from here on loses nothing that is promised below.
    for (const [index, waiting] of group.entries()) {
      const outcome = outcomes[index];
      if (outcome?.kind === "accepted") {
        records += outcome.appended.length;
        waiting.resolve(outcome.appended);
      } else {
        waiting.reject(
          new SigilFault(outcome?.error ?? { kind: "indeterminate", rule: "the commit gave no outcome" }),
        );
      }
    }
    this.#onGroup(records);
  }
}

const refuseFull = (limit: number): Promise<never> =>
  Promise.reject(new SigilFault({ kind: "queueFull", what: "the append queue", limit }));

const rejectAll = (group: readonly Waiting[], error: SigilError, cause?: unknown): void => {
  for (const waiting of group) waiting.reject(new SigilFault(error, { cause }));
};
