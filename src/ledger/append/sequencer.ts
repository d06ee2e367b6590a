/**
 * The one place where order is made. Callers' units wait in a bounded queue and are signed in its order, some way ahead
 * of the disk; whenever no batch is being written, what is signed at the head of the queue becomes the next one:
 * positions, one synchronous batch, and only then its callers get their answer. At most 256 records or 1 MiB a batch,
 * one unit of up to 1,000 at least. There is no timer: an idle sequencer takes a unit in the same turn of the event
 * loop. Work that must be alone (a key that changes) gets a turn in which nothing is signed or written; the queue
 * waits.
 */
import { SigilFault, type SigilError } from "../../errors.ts";
import {
  appendQueueBytesMax,
  appendQueueRecordsMax,
  groupBytesMax,
  groupRecordsMax,
  signAheadRecordsMax,
} from "../../limits.ts";
import type { StoreOp } from "../../storage/store.ts";
import type { Appended, SignedUnit, UnitOutcome } from "./commit.ts";
import type { PreparedRecord, SignedRecord } from "./prepare.ts";

/** What one caller wants committed, all or none. A unit without records writes its `extraOps` alone. */
export type AppendUnit = {
  readonly records: readonly PreparedRecord[];
  readonly extraOps?: ((appended: readonly Appended[]) => readonly StoreOp[]) | undefined;
  /** Aborting drops the unit if it has not been sequenced; afterwards it changes nothing. */
  readonly signal?: AbortSignal | undefined;
};

type Waiting = AppendUnit & {
  /** What it counts for where records are counted: without any it takes the room of one, or there would be no bound. */
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
const sharedRecordsMin = 32;

/**
 * Records of the next batch: half of what is under way, those just answered included, as their callers come back.
 * Callers who are all answered together stay in step for ever, and then caller, processor and disk take turns; in two
 * halves they work at the same time.
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
  /** Of both, until a batch takes them. */
  #queuedRecords = 0;
  #queuedBytes = 0;
  #scheduled = false;
  /** The batch to come has waited its turn. */
  #gathered = false;
  /** Resolves when the batch being written has been. */
  #writing: Promise<void> | undefined;
  /** Of the batch before. */
  #answeredRecords = 0;
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
   * Runs `work` when no group is being signed or written, one at a time; what waits in the queue goes on waiting.
   * @throws notServing, and whatever the work throws.
   */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const refused = this.#stopped ?? this.#finishing;
    if (refused !== undefined) throw new SigilFault(refused);
    this.#turns += 1;
    const turn = this.#turn.then(async () => {
      // What was signed for is written first, by the key that signed it; nothing more is signed while there is a turn.
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

  /** Refuses what waits and what comes, until `resume`. */
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

  /** Refuses what comes, for good, and resolves when everything that was waiting has its answer. */
  finish(error: SigilError): Promise<void> {
    this.#finishing = error;
    return this.drain();
  }

  /** Resolves when everything that was waiting has its answer. */
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

  /** After the I/O of this turn, so that calls that arrived together share a batch. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#signAhead();
      this.#write();
    });
  }

  /** Begins to sign what waits, as far ahead of the disk as is worth while. */
  #signAhead(): void {
    if (this.#turns > 0) return;
    let taken = 0;
    for (const waiting of this.#queue) {
      const { room } = waiting;
      if (this.#aheadRecords > 0 && this.#aheadRecords + room > signAheadRecordsMax) break;
      taken += 1;
      if (this.#isDropped(waiting)) continue;
      this.#aheadRecords += room;
      const ahead: Ahead = { waiting, outcome: undefined };
      this.#ahead.push(ahead);
      void this.#sign(ahead);
    }
    if (taken > 0) this.#queue = this.#queue.slice(taken);
  }

  async #sign(ahead: Ahead): Promise<void> {
    const { records, extraOps = noOps } = ahead.waiting;
    try {
      const [first] = records;
      // Most units are one record, and a list of promises costs more than one.
      ahead.outcome =
        first !== undefined && records.length === 1
          ? { records: [await this.#steps.sign(first)], extraOps }
          : { records: await Promise.all(records.map(this.#steps.sign)), extraOps };
    } catch {
      ahead.outcome = { kind: "notServing", rule: "the record could not be signed" };
    }
    this.#schedule();
  }

  /** Answers a unit whose caller left before it was sequenced. */
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

  /** Writes what is signed at the head of the queue, when nothing is being written. */
  #write(): void {
    if (this.#writing !== undefined || this.#gathers()) return;
    const before = this.#ahead.length;
    const [group, units] = this.#take();
    // There is room to sign further ahead.
    if (this.#ahead.length < before) this.#schedule();
    if (group.length === 0) return;
    this.#writing = this.#commit(units).then((ended) => {
      this.#writing = undefined;
      this.#answeredRecords = units.reduce((sum, { records }) => sum + records.length, 0);
      // The disk before the callers: theirs is the longer way.
      this.#write();
      this.#answer(group, ended);
    });
  }

  /**
   * Whether a small batch waits one turn of the event loop for what is being signed: a commit costs as much as many
   * records, and a turn is long only when there is much to do in it.
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
        cause instanceof GroupFailed ? cause.error : { kind: "indeterminate", rule: "the commit failed" };
      return { error, cause };
    }
  }

  #answer(group: readonly Waiting[], ended: Ended): void {
    if ("error" in ended) {
      for (const waiting of group) waiting.reject(new SigilFault(ended.error, { cause: ended.cause }));
      return;
    }
    let records = 0;
    // The batch is on disk: a crash from here on loses nothing that is promised below.
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
