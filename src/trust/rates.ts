/**
 * The rate windows of the running service, derived from the ledger: a check counts at its record's time once committed,
 * and also while in progress, so that concurrent checks cannot exceed a limit together. Refilled at start from the
 * decision index; each model sets width and limit.
 *
 * A decision reads and updates one window. Each name has two per tenant: checks about itself, and checks by others of
 * the tenant about it. An anonymous caller is counted by its peer address, which is not recorded, so its window starts
 * empty. Source: docs/spec/trust.md §3.
 */
import { rateRefillEntriesMax } from "../limits.ts";
import { readDecision } from "@sigil/core/record";
import type { Caller } from "../identity/caller.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import type { CommittedRecord } from "../ledger/append/options.ts";
import type { ActiveModels, LoadedModel } from "./active-model.ts";
import { createTimesByTag, type TimesByTag } from "./times-by-tag.ts";
import { createRateWindows, type RateLimit, type RateWindows, type Reservation } from "./window.ts";

/** Subject and caller of a check. */
export type Asked = {
  readonly caller: Caller;
  readonly subject: string;
  /** Whether the subject is an active principal of the caller's tenant. */
  readonly isEnrolled: boolean;
};

/** A check in progress, counted until it ends. */
export type Entered = {
  /** Earlier checks of its window, including those in progress. */
  readonly count: number;
  /** Called before the append with the id of its record. */
  readonly expect: (recordId: string) => void;
  /** Called after the append, with any outcome: it stops counting unless its record was committed. */
  readonly leave: () => void;
};

export type Rates = {
  /** Earlier checks within the active model's window. Read-only. */
  readonly count: (asked: Asked, nowMs: number) => number;
  readonly enter: (asked: Asked, nowMs: number) => Entered;
};

type RateLedger = ProjectionLedger<"recentDecisions" | "principalTag">;

export type RatesOptions = {
  readonly ledger: RateLedger;
  readonly models: ActiveModels;
  readonly nowMs: () => number;
  /** Called with the tenants that have more decisions within the window than a start reads. */
  readonly onPartial?: ((tenants: readonly string[]) => void) | undefined;
};

/** Without a model nothing is counted, as all checks are denied. */
const withoutModel: RateLimit = { windowMs: 1, limit: 1 };

const loadedOf = (models: ActiveModels): LoadedModel | undefined =>
  models.state.kind === "loaded" ? models.state.loaded : undefined;

/** Whether a principal checks itself; the first letter of a window's name. */
type Asking = "itself" | "others";
const nameOf = (asking: Asking, subject: string): string => `${asking}\0${subject}`;

/** Times of a tenant found in the decision index at start. */
type Remembered = Readonly<Record<Asking, TimesByTag>>;

type Tenant = {
  readonly enrolled: RateWindows;
  /** Windows of unknown names, in a separate table, so that invented names cannot evict principals. */
  readonly madeUp: RateWindows;
};

type Place = { readonly windows: RateWindows; readonly name: string };

class CountedRates implements Rates {
  readonly #reader: RateLedger["reader"];
  readonly #models: ActiveModels;
  readonly #nowMs: () => number;
  readonly #peers: RateWindows;
  readonly #tenants = new Map<string, Tenant>();
  /** Checks in progress, by the id of their future record. */
  readonly #expected = new Map<string, Reservation>();
  #remembered = new Map<string, Remembered>();
  /** From this time on all times found at start are outside the window. */
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

  /** Reads the decisions within the window from the index. @returns tenants that have more than a start reads. */
  async refill(): Promise<readonly string[]> {
    if (this.#configuredFor === undefined) return [];
    const nowMs = this.#nowMs();
    const { windowMs } = this.#limit;
    this.#rememberedUntilMs = nowMs + windowMs;
    const which = { sinceMs: nowMs - windowMs, entriesMax: rateRefillEntriesMax };
    const { cut } = await this.#reader.recentDecisions(which, ({ tenant, ts, subjectTag, callerTag }) => {
      const asking = subjectTag === callerTag ? "itself" : "others";
      // The peer of an anonymous caller is not recorded.
      if (asking === "itself" && subjectTag === this.#reader.principalTag(tenant, "")) return;
      this.#rememberedOf(tenant)[asking].add(subjectTag, Math.min(ts, nowMs));
    });
    return cut;
  }

  /** Applies a new model's width and limit, from its first check on. */
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
    // A name that was enrolled or revoked meanwhile keeps its window.
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
      // An indeterminate write turned out to be durable: its caller got an error, but the record counts.
      const { subject, caller } = readDecision(body).request;
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
