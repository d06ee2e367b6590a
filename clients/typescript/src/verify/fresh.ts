/**
 * Which records may answer the questions of a connection: a proof shows that a decision was made, not that it is this
 * one. The record must be newer than the question, by position and by time, and answer no other. Source:
 * docs/spec/verify.md §4. No I/O: the clock is an argument. Bound: the questions under way, and those answered
 * meanwhile.
 */
import { equalBytes } from "@sigil/core/bytes";
import { ForkError, ProofError, type SignedTree, type VerifiedRecord } from "../walk.ts";

/**
 * How far the server's clock may be behind this one: the leeway of tokens, docs/spec/tokens.md §2. Before the first
 * answer no position tells old records from new ones, and time alone does.
 */
const clockLeewayMs = 30_000;

/** Positions kept before those are dropped that no question under way may have any more. */
const takenMax = 1_024;

/** What the record of a question must be newer than. */
export type Since = {
  /** The ledger had as many records, as far as it was known. */
  readonly floor: bigint;
  /** When the question was first asked, by this machine's clock. Unix milliseconds. */
  readonly askedMs: number;
};

const refuse = (rule: string): never => {
  throw new ProofError(`the answer is not proved: ${rule}`);
};

export class Freshness {
  readonly #nowMs: () => number;
  /** Positions of records that answered while questions were under way. */
  readonly #taken: Set<bigint>;
  #takenMax = takenMax;
  /** By the order of asking, which is that of their floors: the known tree only grows. */
  readonly #underWay = new Set<Since>();
  /** The largest tree that an answer was proved in. */
  #known: SignedTree | undefined;

  /** @param taken holds the positions that are kept. */
  constructor(nowMs: () => number, taken = new Set<bigint>()) {
    this.#nowMs = nowMs;
    this.#taken = taken;
  }

  /** Each question that was asked is ended. A repeat of the call is the same question. */
  ask(): Since {
    const since = { floor: this.#known?.size ?? 0n, askedMs: this.#nowMs() };
    this.#underWay.add(since);
    return since;
  }

  /** Answered or not. */
  end(since: Since): void {
    this.#underWay.delete(since);
    if (this.#underWay.size === 0) this.#taken.clear();
  }

  /**
   * Takes a record that was proved to answer the question, in a tree whose checkpoint was verified. `since` is
   * undefined where the caller chose the idempotency key: a repeat has the first record.
   * @throws ProofError when the record was there before the question, or answered another one.
   * @throws ForkError when two trees of one size differ.
   */
  take(
    since: Since | undefined,
    record: Pick<VerifiedRecord, "position" | "timeMs">,
    tree: SignedTree,
  ): void {
    if (since !== undefined) this.#takeNew(since, record);
    const known = this.#known;
    if (known?.size === tree.size && !equalBytes(known.root, tree.root))
      throw new ForkError(known, tree, "they have one size");
    if (known === undefined || tree.size > known.size) this.#known = tree;
  }

  #takeNew(
    { floor, askedMs }: Since,
    { position, timeMs }: Pick<VerifiedRecord, "position" | "timeMs">,
  ): void {
    if (position < floor)
      refuse(
        `its record at position ${position} is older than the question: the ledger had ${floor} records then`,
      );
    const ageMs = askedMs - timeMs;
    if (ageMs > clockLeewayMs) {
      const age = `its record is ${Math.ceil(ageMs / 1000)} s older than the question`;
      refuse(`${age}: a stored answer, or clocks that differ by more than ${clockLeewayMs / 1000} s`);
    }
    if (this.#taken.has(position)) refuse("its record answered another question");
    this.#taken.add(position);
    if (this.#taken.size > this.#takenMax) this.#forget(floor);
  }

  /** What lies below the floor of every question under way is refused for that. */
  #forget(floor: bigint): void {
    const [oldest = { floor }] = this.#underWay;
    for (const each of this.#taken) if (each < oldest.floor) this.#taken.delete(each);
    this.#takenMax = Math.max(takenMax, 2 * this.#taken.size);
  }
}
