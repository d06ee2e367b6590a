/**
 * The single place that assigns order. Units wait in a bounded queue and are signed in queue order, some way ahead of
 * the disk, in a thread or, while few wait, in the same turn of the event loop. Whenever no batch is being written, the
 * signed units at the head of the queue become the next one: positions are assigned, the batch is written
 * synchronously, and only then are its callers answered. At most 256 records or 1 MiB a batch, but always at least one
 * unit (up to 1,000 records). There is no timer: an idle sequencer takes a unit in the same turn of the event loop.
 * Exclusive work (key rotation) runs while nothing is signed or written; the queue waits.
 */
import { SigilFault, type SigilError } from "../../errors.ts";
import {
  appendQueueBytesMax,
  appendQueueRecordsMax,
  groupBytesMax,
  groupRecordsMax,
  signAheadRecordsMax,
  signNowRecordsMax,
} from "../../limits.ts";
import type { StoreOp } from "../../storage/store.ts";
import type { Appended, SignedUnit, UnitOutcome } from "./commit.ts";
import type { PreparedRecord, SignedRecord } from "./prepare.ts";

/** What one caller commits, all or none. A unit without records writes only its `extraOps`. */
export type AppendUnit = {
  readonly records: readonly PreparedRecord[];
  readonly extraOps?: ((appended: readonly Appended[]) => readonly StoreOp[]) | undefined;
  /** Aborting drops the unit if it has not been sequenced; afterwards it has no effect. */
  readonly signal?: AbortSignal | undefined;
};

type Waiting = AppendUnit & {
  /** Its size in records for limits. A unit without records counts as one, or the queue would be unbounded. */
  readonly room: number;
  readonly bytes: number;
  readonly resolve: (appended: readonly Appended[]) => void;
  readonly reject: (error: SigilFault) => void;
};

/** A unit whose signing has begun; `outcome` is set when it has ended. */
type Ahead = { readonly waiting: Waiting; outcome: SignedUnit | SigilError | undefined };

/** How a batch ended. */
type Ended =
  | { readonly outcomes: readonly UnitOutcome[] }
  | { readonly error: SigilError; readonly cause: unknown };

export type SequencerSteps = {
  readonly sign: (record: PreparedRecord) => Promise<SignedRecord>;
  /** Signs in the same turn of the event loop, or returns undefined. */
  readonly signNow?: (record: PreparedRecord) => SignedRecord | undefined;
  /**
   * Plans and writes one batch. Throws `BatchFailed` if it could not; "indeterminate" means that the write may have
   * happened.
   */
  readonly commit: (units: readonly SignedUnit[]) => Promise<readonly UnitOutcome[]>;
};

/** Why a whole batch failed. */
export class BatchFailed extends Error {
  readonly error: SigilError;
  constructor(error: SigilError, options?: ErrorOptions) {
    super(error.kind, options);
    this.error = error;
  }
}

/** The queue's size, for metrics. */
export type SequencerGauge = { readonly queuedRecords: number; readonly queuedBytes: number };

/** With fewer records, splitting them into two batches costs more in syncs than the overlap saves. */
const sharedRecordsMin = 32;

/**
 * Size of the next batch: half of all records in flight, counting those just answered, as their callers usually call
 * again. If all callers were answered together they would stay in lockstep, and client, processor and disk would take
 * turns; in two halves they overlap.
 */
const batchRecords = (queuedRecords: number, answeredRecords: number): number =>
  Math.min(groupRecordsMax, Math.max(sharedRecordsMin, Math.ceil((queuedRecords + answeredRecords) / 2)));

const noOps = (): readonly StoreOp[] => [];
const cancelled = (): SigilFault => new SigilFault({ kind: "cancelled" });

export class Sequencer {
  readonly #steps: SequencerSteps;
  readonly #onGroup: (records: number) => void;
  /** Not signed yet. */
  #queue: Waiting[] = [];
  /** Being signed, or signed and waiting for the disk; in the order of the queue. */
  #ahead: Ahead[] = [];
  #aheadRecords = 0;
  /** Records in `#queue` and `#ahead`. */
  #queuedRecords = 0;
  #queuedBytes = 0;
  #scheduled = false;
  /** True if the next batch has already waited one turn of the event loop. */
  #gathered = false;
  /** Resolves when the batch being written is finished; undefined if none is. */
  #writing: Promise<void> | undefined;
  /** Records of the previous batch. */
  #answeredRecords = 0;
  /** Exclusive turns waiting or running. While there is one, no batch starts. */
  #turns = 0;
  #turn: Promise<void> = Promise.resolve();
  /** Set while the sequencer is stopped; new units are refused with it. */
  #stopped: SigilError | undefined;
  /** Set while draining: new units are refused with it, waiting ones are still processed. */
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
    const room = Math.max(1, unit.records.length);
    if (this.#queuedRecords + room > appendQueueRecordsMax) return refuseFull(appendQueueRecordsMax);
    if (this.#queuedBytes + bytes > appendQueueBytesMax) return refuseFull(appendQueueBytesMax);
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...unit, room, bytes, resolve, reject });
      this.#queuedRecords += room;
      this.#queuedBytes += bytes;
      this.#schedule();
    });
  }

  /**
   * Runs `work` while no batch is being signed or written, one at a time; queued units wait.
   * @throws notServing, and whatever the work throws.
   */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const refused = this.#stopped ?? this.#finishing;
    if (refused !== undefined) throw new SigilFault(refused);
    this.#turns += 1;
    const turn = this.#turn.then(async () => {
      // Units already signed are written first, under the key that signed them; nothing is signed during the turn.
      await this.#settled(() => this.#ahead.length === 0);
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

  /** Refuses waiting and new units until `resume`. */
  stop(error: SigilError): void {
    this.#stopped = error;
    const dropped = [...this.#ahead.map(({ waiting }) => waiting), ...this.#queue];
    this.#queue = [];
    this.#ahead = [];
    this.#aheadRecords = 0;
    this.#queuedRecords = 0;
    this.#queuedBytes = 0;
    for (const waiting of dropped) waiting.reject(new SigilFault(error));
  }

  resume(): void {
    this.#stopped = undefined;
  }

  /** Refuses new units permanently, and resolves when every waiting unit is answered. */
  finish(error: SigilError): Promise<void> {
    this.#finishing = error;
    return this.drain();
  }

  /** Resolves when every waiting unit is answered. */
  drain(): Promise<void> {
    return this.#settled(() => this.#queue.length === 0 && this.#ahead.length === 0 && this.#turns === 0);
  }

  /** Resolves when `isEmpty` holds and nothing is being written. */
  async #settled(isEmpty: () => boolean): Promise<void> {
    while (!isEmpty() || this.#writing !== undefined) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      await this.#writing;
    }
  }

  /** Runs after this turn's I/O, so that calls that arrived together share a batch. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#signAhead();
      this.#write();
    });
  }

  /** Starts signing waiting units, up to a bounded distance ahead of the disk. */
  #signAhead(): void {
    if (this.#turns > 0) return;
    let taken = 0;
    const isFew = this.#queuedRecords <= signNowRecordsMax;
    for (const waiting of this.#queue) {
      const { room } = waiting;
      if (this.#aheadRecords > 0 && this.#aheadRecords + room > signAheadRecordsMax) break;
      taken += 1;
      if (this.#isDropped(waiting)) continue;
      this.#aheadRecords += room;
      const ahead: Ahead = { waiting, outcome: isFew ? this.#signNow(waiting) : undefined };
      this.#ahead.push(ahead);
      if (ahead.outcome === undefined) void this.#sign(ahead);
    }
    if (taken > 0) this.#queue = this.#queue.slice(taken);
  }

  /** Waking a thread costs more than a few signatures. @returns undefined for a unit that is left to the thread. */
  #signNow({ records, extraOps = noOps }: Waiting): SignedUnit | undefined {
    const signed: SignedRecord[] = [];
    for (const record of records) {
      const one = this.#steps.signNow?.(record);
      if (one === undefined) return undefined;
      signed.push(one);
    }
    return { records: signed, extraOps };
  }

  async #sign(ahead: Ahead): Promise<void> {
    const { records, extraOps = noOps } = ahead.waiting;
    try {
      const [first] = records;
      // Fast path: most units hold one record, and `Promise.all` costs more than one promise.
      ahead.outcome =
        first !== undefined && records.length === 1
          ? { records: [await this.#steps.sign(first)], extraOps }
          : { records: await Promise.all(records.map(this.#steps.sign)), extraOps };
    } catch {
      ahead.outcome = { kind: "notServing", rule: "the record could not be signed" };
    }
    this.#schedule();
  }

  /** Rejects a unit whose caller cancelled before it was sequenced. @returns whether it did. */
  #isDropped(waiting: Waiting): boolean {
    if (waiting.signal?.aborted !== true) return false;
    this.#uncount(waiting);
    waiting.reject(cancelled());
    return true;
  }

  #uncount({ room, bytes }: Waiting): void {
    this.#queuedRecords -= room;
    this.#queuedBytes -= bytes;
  }

  /** Writes the signed units at the head of the queue, unless a batch is being written. */
  #write(): void {
    if (this.#writing !== undefined || this.#gathers()) return;
    const before = this.#ahead.length;
    const [group, units] = this.#take();
    // Taking units made room to sign further ahead.
    if (this.#ahead.length < before) this.#schedule();
    if (group.length === 0) return;
    this.#writing = this.#commit(units).then((ended) => {
      this.#writing = undefined;
      this.#answeredRecords = units.reduce((sum, { records }) => sum + records.length, 0);
      // Start the next write before answering callers, to keep the disk busy.
      this.#write();
      this.#answer(group, ended);
    });
  }

  /**
   * Whether a small batch waits one turn of the event loop for units being signed: a commit costs as much as many
   * records, and a turn is long only under load.
   */
  #gathers(): boolean {
    const unsigned = this.#ahead.findIndex(({ outcome }) => outcome === undefined);
    this.#gathered = !this.#gathered && unsigned > 0 && unsigned < sharedRecordsMin;
    if (this.#gathered) this.#schedule();
    return this.#gathered;
  }

  #take(): readonly [readonly Waiting[], readonly SignedUnit[]] {
    const group: Waiting[] = [];
    const units: SignedUnit[] = [];
    let records = 0;
    let bytes = 0;
    let taken = 0;
    const recordsMax = batchRecords(this.#queuedRecords, this.#answeredRecords);
    for (const { waiting, outcome } of this.#ahead) {
      if (outcome === undefined) break;
      const fits = records + waiting.room <= recordsMax && bytes + waiting.bytes <= groupBytesMax;
      if (group.length > 0 && !fits) break;
      taken += 1;
      this.#aheadRecords -= waiting.room;
      if (this.#isDropped(waiting)) continue;
      this.#uncount(waiting);
      if ("kind" in outcome) {
        waiting.reject(new SigilFault(outcome));
        continue;
      }
      group.push(waiting);
      units.push(outcome);
      records += waiting.room;
      bytes += waiting.bytes;
    }
    if (taken > 0) this.#ahead = this.#ahead.slice(taken);
    return [group, units];
  }

  async #commit(units: readonly SignedUnit[]): Promise<Ended> {
    try {
      return { outcomes: await this.#steps.commit(units) };
    } catch (cause) {
      const error: SigilError =
        cause instanceof BatchFailed ? cause.error : { kind: "indeterminate", rule: "the commit failed" };
      return { error, cause };
    }
  }

  #answer(group: readonly Waiting[], ended: Ended): void {
    if ("error" in ended) {
      for (const waiting of group) waiting.reject(new SigilFault(ended.error, { cause: ended.cause }));
      return;
    }
    let records = 0;
    // The batch is on disk: a crash from here on loses nothing that the answers below promise.
    for (const [index, waiting] of group.entries()) {
      const outcome = ended.outcomes[index];
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
