/**
 * Writes batches, one at a time: prepares a batch, waits until the anchor is recent enough, then makes one synchronous
 * write to the store. A crash before that write leaves nothing of the batch; after it, the whole batch is durable,
 * whether or not the callers were answered. Source: docs/spec/ledger.md §6.
 */
import { SigilFault } from "../../errors.ts";
import type { Hash } from "@sigil/core/bytes";
import type { RecordBody } from "@sigil/core/record";
import { randomBytes } from "../../crypto/random.ts";
import type { StoreOp } from "../../storage/store.ts";
import type { AnchorKeeper } from "./anchor.ts";
import { prepareCommit, type PreparedCommit, type SignedUnit, type UnitOutcome } from "./commit.ts";
import { withNumber, type CallerNumbers, type Counter, type Numbered } from "./caller-numbers.ts";
import type { KeysInUse } from "./key-life.ts";
import type { LoadSources } from "./load.ts";
import type { FeedRecord, LedgerOptions } from "./options.ts";
import {
  prepareRecord,
  signRecord,
  signRecordNow,
  type PreparedRecord,
  type SignedRecord,
} from "./prepare.ts";
import { BatchFailed } from "./sequencer.ts";
import type { Signers } from "./signers.ts";
import { sizeOf, type LedgerMoment, type LedgerState } from "./state.ts";

/** All fields are replaced in one step, or a reader could see the keys of one moment and the tree of another. */
export type WritableMoment = LedgerMoment & { readonly signers: Signers };

export type CommitterSteps = Omit<LoadSources, "store"> & {
  readonly options: Pick<LedgerOptions, "origin" | "observe">;
  readonly anchor: Pick<AnchorKeeper, "beforeCommit" | "committed">;
  readonly numbers: Pick<CallerNumbers, "committed">;
  readonly now: () => WritableMoment;
  /** Called when the batch is on disk: makes its state the ledger's. */
  readonly advance: (after: { readonly state: LedgerState } & KeysInUse, leaves: readonly Hash[]) => void;
  /** Called after `advance` with the committed records, before any caller is answered. */
  readonly onCommitted: (records: readonly FeedRecord[]) => void;
  /** Stops the ledger and starts recovery. */
  readonly stop: (cause: unknown) => void;
};

export class Committer {
  readonly #steps: CommitterSteps;

  constructor(steps: CommitterSteps) {
    this.#steps = steps;
  }

  /** The custody's reason for a failed signature is for the operator; callers only learn that nothing was recorded. */
  async sign(record: PreparedRecord): Promise<SignedRecord> {
    const { options } = this.#steps;
    try {
      return await signRecord(record, this.#signing());
    } catch (cause) {
      options.observe?.onFault?.(cause);
      throw cause;
    }
  }

  /** As `sign`, on the event loop; undefined for what is left to `sign`, which also reports every failure. */
  signNow(record: PreparedRecord): SignedRecord | undefined {
    try {
      return signRecordNow(record, this.#signing());
    } catch {
      return undefined;
    }
  }

  #signing() {
    const { options, now } = this.#steps;
    return { signer: now().signers.record, origin: options.origin };
  }

  /** @param next the keys in use after this batch. @throws BatchFailed. */
  async commit(units: readonly SignedUnit[], next?: KeysInUse): Promise<readonly UnitOutcome[]> {
    const { anchor, now, advance, numbers, onCommitted, stop } = this.#steps;
    const prepared = await this.#prepare(units);
    const { ops, outcomes, records, state } = prepared;
    if (ops.length === 0) return outcomes;
    try {
      await anchor.beforeCommit(records.length);
    } catch (cause) {
      stop(cause);
      throw new BatchFailed({ kind: "notServing", rule: "the anchor could not be written" }, { cause });
    }
    try {
      await now().store.commit(ops);
    } catch (cause) {
      stop(cause);
      throw new BatchFailed({ kind: "indeterminate", rule: "the store failed while writing" }, { cause });
    }
    const { ring, signers } = next ?? now();
    advance(
      { state, ring, signers },
      records.map(({ leaf }) => leaf),
    );
    prepared.accept();
    numbers.committed(records.map(({ numbered }) => numbered));
    anchor.committed(sizeOf(state), state.checkpoint);
    onCommitted(committedIn(prepared));
    return outcomes;
  }

  /** Commits one key record, signed by the current keys. Call it in `exclusive` only. */
  async commitAlone(body: RecordBody, next: KeysInUse): Promise<void> {
    const { options } = this.#steps;
    const record = await signRecord(prepareRecord(body), this.#signing());
    try {
      const [outcome] = await this.commit([{ records: [record], extraOps: () => [] }], next);
      if (outcome?.kind === "refused") throw new SigilFault(outcome.error);
    } catch (cause) {
      if (cause instanceof BatchFailed) throw new SigilFault(cause.error, { cause });
      throw cause;
    }
    options.observe?.onGroup?.(1);
  }

  /** Writes operations without records. Call it in `exclusive` only. @throws storeFailed. */
  async commitUpkeep(ops: readonly StoreOp[]): Promise<void> {
    const { store, state, summary } = this.#steps.now();
    const changes = summary.changes();
    changes.upkeep(ops);
    const plan = summary.plan(changes, sizeOf(state), state.root);
    await store.commit([...ops, ...plan.ops]);
    plan.accept();
  }

  /** Signs again what does not have the number that its place gives it. */
  async #renumber(units: readonly SignedUnit[]): Promise<readonly SignedUnit[]> {
    const given = new Map<Counter, number>();
    const numberFor = ({ counter }: Numbered): number => {
      const number = (given.get(counter) ?? counter.last) + 1;
      given.set(counter, number);
      return number;
    };
    const corrections = units.map(({ records, refusal }) => {
      if (refusal !== undefined) return undefined;
      const numbers = records.map(({ numbered }) => numbered && numberFor(numbered));
      return records.every(({ numbered }, index) => numbered?.number === numbers[index])
        ? undefined
        : numbers;
    });
    if (corrections.every((each) => each === undefined)) return units;
    return Promise.all(
      units.map(async (unit, index) => {
        const numbers = corrections[index];
        return numbers === undefined ? unit : this.#signAgain(unit, numbers);
      }),
    );
  }

  async #signAgain(unit: SignedUnit, numbers: readonly (number | undefined)[]): Promise<SignedUnit> {
    try {
      const records = await Promise.all(
        unit.records.map(async (record, index) => {
          const { numbered, body, attestations, disclosures } = record;
          const number = numbers[index];
          if (numbered === undefined || number === undefined || numbered.number === number) return record;
          const beside = { attestations, disclosures, numbered: { ...numbered, number } };
          return this.sign(prepareRecord(withNumber(body, number), beside));
        }),
      );
      return { ...unit, records };
    } catch {
      return { ...unit, refusal: { kind: "notServing", rule: "the record could not be signed" } };
    }
  }

  /** A failure here means that nothing was written. */
  async #prepare(units: readonly SignedUnit[]): Promise<PreparedCommit> {
    const { now, options, stop, numbers: _, ...sources } = this.#steps;
    const { store, state, summary, signers } = now();
    const { origin } = options;
    const context = { ...sources, store, summary, randomBytes, origin, checkpointSigner: signers.checkpoint };
    try {
      let planned = units;
      for (;;) {
        const numbered = await this.#renumber(planned);
        const isSigned = numbered.every(({ refusal }, index) => refusal === planned[index]?.refusal);
        planned = numbered;
        if (!isSigned) continue;
        const prepared = await prepareCommit(state, planned, context);
        const { outcomes } = prepared;
        // What a refused unit was numbered leaves a gap: plan again without it.
        if (!outcomes.some((outcome, index) => isNewlyRefused(outcome, planned[index]))) return prepared;
        planned = planned.map((unit, index) => {
          const outcome = outcomes[index];
          return outcome?.kind === "refused" ? { ...unit, refusal: outcome.error } : unit;
        });
      }
    } catch (cause) {
      stop(cause);
      throw new BatchFailed({ kind: "notServing", rule: "the commit could not be prepared" }, { cause });
    }
  }
}

const isNewlyRefused = (outcome: UnitOutcome, unit: SignedUnit | undefined): boolean =>
  outcome.kind === "refused" &&
  unit?.refusal === undefined &&
  unit?.records.some(({ numbered }) => numbered !== undefined) === true;

const committedIn = ({ outcomes, records }: PreparedCommit): readonly FeedRecord[] =>
  outcomes
    .flatMap((each) => (each.kind === "accepted" ? each.appended : []))
    .map((appended, index) => ({ ...appended, body: (records[index] as SignedRecord).body }));
