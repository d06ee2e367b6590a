/**
 * The numbers of one's own decisions, remembered: a decision is answered with `caller_seq`, which the server gives once
 * and in the order of the ledger, so a number that comes a second time, or a lower one after a higher one, is a ledger
 * that lost records or has two pasts. Source: docs/spec/completeness.md §4.
 * Bound: one entry for each number above the newest that was known when the oldest call under way began.
 */
import type { CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";

/** A decision by its number among its caller's. */
export type CallerNumber = {
  readonly seq: bigint;
  /** Where its record stands in the ledger. */
  readonly position: bigint;
  readonly auditId: string;
};

/** Where the highest number of one caller of one ledger is kept. */
export type NumberStore = {
  /** Undefined before the first. */
  readonly load: () => Promise<CallerNumber | undefined>;
  /** Durable when it resolves. A lower number than the one that is held changes nothing. @returns what is held then. */
  readonly save: (number: CallerNumber) => Promise<CallerNumber>;
};

/** Numbers that this connection was not answered with, both included. */
export type NumberGap = { readonly from: bigint; readonly to: bigint };

export type RememberOptions = {
  readonly store: NumberStore;
  /** "throw", the default: the call rejects and its answer is not handed on. A function is told, and it is. */
  readonly onFault?: "throw" | ((fault: CallerNumberError) => void);
  /**
   * Told once no call under way could still bring them. Another process of the same caller has them, a write or a run
   * of its own, or an answer that was lost.
   */
  readonly onGap?: (gap: NumberGap) => void;
};

type FaultKind =
  /** The number was another decision's. */
  | "repeated"
  /** Not above what was known before the question was asked. */
  | "wentBack"
  /** Numbers and positions are in different orders. */
  | "disordered"
  /** The caller has had numbers, and this decision has none. */
  | "unnumbered";

const rules = {
  repeated: "was given to another decision before",
  wentBack: "is not above the newest that was known before the question was asked",
  disordered: "and the newest that is known are in another order than their records",
  unnumbered: "is none, and this caller has had numbers",
} satisfies Record<FaultKind, string>;

/** The ledger lost records, as by a restore from an older backup, or it has two pasts. Keep both decisions. */
export class CallerNumberError extends Error {
  readonly kind: FaultKind;
  readonly given: CallerNumber;
  readonly known: CallerNumber;

  constructor(kind: FaultKind, given: CallerNumber, known: CallerNumber) {
    const [now, before] = [given, known].map(
      ({ seq, auditId, position }) => `${seq} (${auditId} at position ${position})`,
    );
    super(`number ${now} of this caller's decisions ${rules[kind]}: known is ${before}`);
    this.name = "CallerNumberError";
    this.kind = kind;
    this.given = given;
    this.known = known;
  }
}

/** A question under way: its answer's number is above the newest that was known when it was asked. */
export type Asked = { readonly floor: bigint };

type Answered = Pick<CheckResponse, "callerSeq" | "ledgerPosition" | "auditId" | "replayed">;

/** Of two, the one with the higher number. */
export const higherOf = (one: CallerNumber | undefined, other: CallerNumber): CallerNumber =>
  one !== undefined && one.seq >= other.seq ? one : other;

/** What is known of one caller's numbers. Without I/O. */
export class CallerNumbers {
  #highest: CallerNumber | undefined;
  /** Above the floor of every question under way, and the highest. */
  readonly #seen = new Map<bigint, CallerNumber>();
  /** Oldest first, so that the first has the lowest floor. */
  readonly #asked = new Set<Asked>();
  /** Gaps up to here were told; undefined before the first number. */
  #told: bigint | undefined;

  get highest(): CallerNumber | undefined {
    return this.#highest;
  }

  /** What somebody else has seen: an earlier process, or another one. */
  adopt(known: CallerNumber | undefined): void {
    if (known === undefined) return;
    this.#highest = higherOf(this.#highest, known);
    this.#told ??= known.seq;
    this.#seen.set(known.seq, known);
  }

  ask(): Asked {
    const asked = { floor: this.#highest?.seq ?? 0n };
    this.#asked.add(asked);
    return asked;
  }

  /** @returns the fault, of which nothing is remembered. */
  take({ floor }: Asked, answer: Answered): CallerNumberError | undefined {
    const given = { seq: answer.callerSeq, position: answer.ledgerPosition, auditId: answer.auditId };
    const [highest, same] = [this.#highest, this.#seen.get(given.seq)];
    if (given.seq === 0n) {
      // A stored answer may be older than numbers are.
      const isFault = highest !== undefined && !answer.replayed;
      return isFault ? new CallerNumberError("unnumbered", given, highest) : undefined;
    }
    if (same !== undefined) {
      const isSame = same.auditId === given.auditId && same.position === given.position;
      return isSame ? undefined : new CallerNumberError("repeated", given, same);
    }
    if (highest !== undefined) {
      if (!answer.replayed && given.seq <= floor) return new CallerNumberError("wentBack", given, highest);
      if (given.seq > highest.seq !== given.position > highest.position)
        return new CallerNumberError("disordered", given, highest);
    }
    this.#highest = higherOf(highest, given);
    if (this.#told === undefined || given.seq > this.#told) this.#seen.set(given.seq, given);
    return undefined;
  }

  /** The call is over, answered or not. @returns gaps that nothing under way can fill any more. */
  settle(asked: Asked): readonly NumberGap[] {
    this.#asked.delete(asked);
    const [oldest] = this.#asked;
    const until = oldest?.floor ?? this.#highest?.seq;
    if (until === undefined || this.#highest === undefined) return [];
    const closed = [...this.#seen.keys()].filter((seq) => seq <= until).sort((a, b) => (a < b ? -1 : 1));
    const gaps: NumberGap[] = [];
    for (const seq of closed) {
      if (this.#told !== undefined && seq > this.#told + 1n)
        gaps.push({ from: this.#told + 1n, to: seq - 1n });
      if (this.#told === undefined || seq > this.#told) this.#told = seq;
      if (seq !== this.#highest.seq) this.#seen.delete(seq);
    }
    return gaps;
  }
}

/** Numbers of one connection, kept in a store. */
export class Remembering {
  readonly #options: RememberOptions;
  readonly #numbers = new CallerNumbers();
  #loading: Promise<void> | undefined;
  #saving: Promise<void> | undefined;
  #saved = 0n;

  constructor(options: RememberOptions) {
    this.#options = options;
  }

  /** @throws what the store throws: without what it holds nothing could be noticed. */
  async ask(): Promise<Asked> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    await this.#loading;
    return this.#numbers.ask();
  }

  /**
   * Resolves once the newest number is in the store, so that what was handed on is known after a crash.
   * @throws CallerNumberError unless somebody else is told of it; what the store throws.
   */
  async take(asked: Asked, answers: readonly Answered[]): Promise<void> {
    const { onFault = "throw" } = this.#options;
    for (const answer of answers) {
      const fault = this.#numbers.take(asked, answer);
      if (fault === undefined) continue;
      if (onFault === "throw") throw fault;
      onFault(fault);
    }
    await this.#save();
  }

  settle(asked: Asked): void {
    for (const gap of this.#numbers.settle(asked)) this.#options.onGap?.(gap);
  }

  async #load(): Promise<void> {
    const known = await this.#options.store.load();
    this.#numbers.adopt(known);
    this.#saved = known?.seq ?? 0n;
  }

  /** One write at a time: those who wait share the next one. */
  async #save(): Promise<void> {
    const wanted = this.#numbers.highest?.seq ?? 0n;
    while (this.#saved < wanted) {
      this.#saving ??= this.#saveNewest().finally(() => (this.#saving = undefined));
      await this.#saving;
    }
  }

  async #saveNewest(): Promise<void> {
    const { highest } = this.#numbers;
    if (highest === undefined) return;
    const held = await this.#options.store.save(highest);
    this.#saved = held.seq;
    this.#numbers.adopt(held);
  }
}

/** For as long as the process runs. */
export const memoryNumbers = (): NumberStore => {
  let held: CallerNumber | undefined;
  return {
    load: async () => held,
    save: async (number) => (held = higherOf(held, number)),
  };
};
