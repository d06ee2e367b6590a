/**
 * The rate windows of the running service, as the ledger tells them: a check counts as made at its record's time once
 * that is committed, and while it is under way, so that checks side by side cannot pass under a limit together. A start
 * fills them again from the decision index; each new model gives its width and limit.
 *
 * A decision reads and feeds one window. Of each name a tenant has two: what it asks for itself, and what others of the
 * tenant ask about it. An anonymous caller is counted by its peer, which no record holds: its window starts empty.
 * Source: docs/spec/trust.md §3.
 */
import { rateRefillEntriesMax } from "../limits.ts";
import { parseFrozenChain } from "@sigil/core/record";
import type { Caller } from "../identity/caller.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import type { CommittedRecord } from "../ledger/append/options.ts";
import type { ActiveModels, LoadedModel } from "./active-model.ts";
import { createTimesByTag, type TimesByTag } from "./times-by-tag.ts";
import { createRateWindows, type RateLimit, type RateWindows, type Reservation } from "./window.ts";

/** Whom a check is about, and who asks. */
export type Asked = {
  readonly caller: Caller;
  readonly subject: string;
  /** Whether the subject is an active principal of the caller's tenant. */
  readonly isEnrolled: boolean;
};

/** A check under way, counted until it ends. */
export type Entered = {
  /** Earlier checks of its window, those under way among them. */
  readonly count: number;
  /** Before the append: under which id its record will be seen in the ledger. */
  readonly expect: (recordId: string) => void;
  /** After the append, whatever came of it: it counts no longer unless its record was committed. */
  readonly leave: () => void;
};

export type Rates = {
  /** Earlier checks inside the active model's window. Changes nothing. */
  readonly count: (asked: Asked, nowMs: number) => number;
  readonly enter: (asked: Asked, nowMs: number) => Entered;
};

type RateLedger = ProjectionLedger<"recentDecisions" | "principalTag">;

export type RatesOptions = {
  readonly ledger: RateLedger;
  readonly models: ActiveModels;
  readonly nowMs: () => number;
  /** Called with the tenants of which more decisions lie inside the window than a start reads. */
  readonly onPartial?: ((tenants: readonly string[]) => void) | undefined;
};

/** Without a model nothing is counted; such checks are denied anyway. */
const withoutModel: RateLimit = { windowMs: 1, limit: 1 };

const loadedOf = (models: ActiveModels): LoadedModel | undefined =>
  models.state.kind === "loaded" ? models.state.loaded : undefined;

/** Who asks about whom: the first letter of a window's name. */
type Asking = "itself" | "others";
const nameOf = (asking: Asking, subject: string): string => `${asking}\0${subject}`;

/** What a start found of a tenant in the decision index. */
type Remembered = Readonly<Record<Asking, TimesByTag>>;

type Tenant = {
  readonly enrolled: RateWindows;
  /** Of names that are no principal's: made up, they take no place from those that are. */
  readonly madeUp: RateWindows;
};

type Place = { readonly windows: RateWindows; readonly name: string };

class CountedRates implements Rates {
  readonly #reader: RateLedger["reader"];
  readonly #models: ActiveModels;
  readonly #nowMs: () => number;
  readonly #peers: RateWindows;
  readonly #tenants = new Map<string, Tenant>();
  /** Checks under way, by the id of the record to come. */
  readonly #expected = new Map<string, Reservation>();
  #remembered = new Map<string, Remembered>();
  /** From then on everything remembered lies outside the window. */
  #rememberedUntilMs = 0;
  #configuredFor: LoadedModel | undefined;
  #limit: RateLimit;

  constructor({ ledger, models, nowMs }: RatesOptions) {
    this.#reader = ledger.reader;
    this.#models = models;
    this.#nowMs = nowMs;
    this.#configuredFor = loadedOf(models);
    this.#limit = this.#configuredFor?.compiled.rate ?? withoutModel;
    this.#peers = createRateWindows(this.#limit);
    ledger.feed.subscribe((records) => this.#committed(records));
  }

  count(asked: Asked, nowMs: number): number {
    this.#follow();
    const { windows, name } = this.#place(asked);
    return windows.count(name, nowMs);
  }

  enter(asked: Asked, nowMs: number): Entered {
    this.#follow();
    const { windows, name } = this.#place(asked);
    const reservation = windows.reserve(name, nowMs);
    let expected: string | undefined;
    return {
      count: reservation.count,
      expect: (recordId) => {
        expected = recordId;
        this.#expected.set(recordId, reservation);
      },
      leave: () => {
        if (expected !== undefined) this.#expected.delete(expected);
        reservation.drop();
      },
    };
  }

  /**
   * Every decision inside the window that the index tells of. @returns tenants that have more of them than a start
   * reads.
   */
  async refill(): Promise<readonly string[]> {
    if (this.#configuredFor === undefined) return [];
    const nowMs = this.#nowMs();
    const { windowMs } = this.#limit;
    this.#rememberedUntilMs = nowMs + windowMs;
    const which = { sinceMs: nowMs - windowMs, entriesMax: rateRefillEntriesMax };
    const { cut } = await this.#reader.recentDecisions(which, ({ tenant, ts, subjectTag, callerTag }) => {
      const asking = subjectTag === callerTag ? "itself" : "others";
      // Of an anonymous caller nobody knows any more where it called from.
      if (asking === "itself" && subjectTag === this.#reader.principalTag(tenant, "")) return;
      this.#rememberedOf(tenant)[asking].add(subjectTag, Math.min(ts, nowMs));
    });
    return cut;
  }

  /** A new model's width and limit, from the first check that it decides. */
  #follow(): void {
    const loaded = loadedOf(this.#models);
    if (loaded === this.#configuredFor) return;
    this.#configuredFor = loaded;
    this.#limit = loaded?.compiled.rate ?? withoutModel;
    this.#peers.reconfigure(this.#limit);
    for (const { enrolled, madeUp } of this.#tenants.values()) {
      enrolled.reconfigure(this.#limit);
      madeUp.reconfigure(this.#limit);
    }
  }

  #place({ caller, subject, isEnrolled }: Asked): Place {
    if (caller.credential === "none") return { windows: this.#peers, name: caller.peer };
    const { enrolled, madeUp } = this.#tenant(caller.tenant);
    if (subject === caller.principal) return { windows: enrolled, name: nameOf("itself", subject) };
    return { windows: isEnrolled ? enrolled : madeUp, name: nameOf("others", subject) };
  }

  #tenant(tenant: string): Tenant {
    const found = this.#tenants.get(tenant);
    if (found !== undefined) return found;
    // A name that was enrolled meanwhile, or revoked, takes its window along.
    const made: Tenant = {
      enrolled: createRateWindows({
        ...this.#limit,
        recall: (name) => made.madeUp.take(name) ?? this.#recall(tenant, name),
      }),
      madeUp: createRateWindows({
        ...this.#limit,
        recall: (name) => made.enrolled.take(name) ?? this.#recall(tenant, name),
      }),
    };
    this.#tenants.set(tenant, made);
    return made;
  }

  #rememberedOf(tenant: string): Remembered {
    const found = this.#remembered.get(tenant);
    if (found !== undefined) return found;
    const made = { itself: createTimesByTag(), others: createTimesByTag() };
    this.#remembered.set(tenant, made);
    return made;
  }

  #recall(tenant: string, name: string): readonly number[] | undefined {
    if (this.#remembered.size === 0) return undefined;
    if (this.#nowMs() >= this.#rememberedUntilMs) {
      this.#remembered = new Map();
      return undefined;
    }
    const end = name.indexOf("\0");
    const tag = this.#reader.principalTag(tenant, name.slice(end + 1));
    if (tag === undefined) return undefined;
    return this.#remembered.get(tenant)?.[name.slice(0, end) as Asking].of(tag, this.#limit.limit);
  }

  #committed(records: readonly CommittedRecord[]): void {
    const nowMs = this.#nowMs();
    for (const { body } of records) {
      if (body.kind !== "frozen_chain") continue;
      const expected = this.#expected.get(body.id);
      if (expected !== undefined) {
        this.#expected.delete(body.id);
        expected.keep(body.ts, nowMs);
        continue;
      }
      // Its write was said to have failed and was found again: its caller has an error already, but the record counts.
      const { subject, caller } = parseFrozenChain(body.payload).request;
      const { enrolled, madeUp } = this.#tenant(body.tenant);
      if (subject === caller) enrolled.record(nameOf("itself", subject), body.ts, nowMs);
      else madeUp.record(nameOf("others", subject), body.ts, nowMs);
    }
  }
}

export const openRates = async (options: RatesOptions): Promise<Rates> => {
  const rates = new CountedRates(options);
  const cut = await rates.refill();
  if (cut.length > 0) options.onPartial?.(cut);
  return rates;
};
