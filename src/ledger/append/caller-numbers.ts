/**
 * Numbers the decisions of each caller in a tenant: 1, 2, 3 … in ledger order without a gap, so that a caller can prove
 * that one is missing. A number is a guess until the commit: records are encoded and signed ahead of the disk, and a
 * unit before them may be dropped, cancelled or refused. The committer corrects wrong guesses, and has them signed
 * again. Source: docs/spec/record.md §6.
 */
import type { CborMap } from "@sigil/core/cbor";
import type { RecordBody } from "@sigil/core/record";
import { assert } from "../../errors.ts";
import { callersCountedMax } from "../../limits.ts";

export type Counter = {
  /** The number of the newest committed decision; 0 if there is none. */
  last: number;
  /** Decisions that have been given a guess and are neither committed nor given up. */
  ahead: number;
};

/** The number that a record was encoded with, and whose it is. */
export type Numbered = { readonly counter: Counter; readonly number: number };

/** Reads the newest number of a caller from the ledger; 0 if there is none. */
export type LoadNumber = (tenant: string, caller: string) => Promise<number>;

type ChainPayload = CborMap & { readonly request: { readonly caller: string } };

/** Whose number the record takes. Anonymous callers, and records older than numbers, take none. */
const callerOf = ({ kind, schemaVersion, payload }: RecordBody): string => {
  if (kind !== "frozen_chain" || schemaVersion < 2) return "";
  return (payload as ChainPayload).request.caller;
};

export const withNumber = (body: RecordBody, number: number): RecordBody => ({
  ...body,
  payload: { ...(body.payload as CborMap), caller_seq: number },
});

export class CallerNumbers {
  readonly #load: LoadNumber;
  readonly #countersMax: number;
  /** In LRU order, the most recently used last. */
  #counters = new Map<string, Counter>();
  #loading = new Map<string, Promise<void>>();

  constructor(load: LoadNumber, countersMax: number = callersCountedMax) {
    this.#load = load;
    this.#countersMax = countersMax;
  }

  /** Loads the counters that these records need; undefined if none is missing. @throws what the load throws. */
  ready(bodies: readonly RecordBody[]): Promise<void> | undefined {
    const missing = new Map<string, () => Promise<void>>();
    for (const body of bodies) {
      const caller = callerOf(body);
      const name = nameOf(body.tenant, caller);
      if (caller === "" || this.#counters.has(name)) continue;
      missing.set(name, () => this.#read(name, body.tenant, caller));
    }
    if (missing.size === 0) return undefined;
    // Again after the loads: another caller's load may have evicted one of these.
    return Promise.all([...missing.values()].map((read) => read())).then(() => this.ready(bodies));
  }

  /** The record with the number that it will have if everything before it is committed. Call after `ready`. */
  number(body: RecordBody): { readonly body: RecordBody; readonly numbered?: Numbered } {
    const caller = callerOf(body);
    if (caller === "") return { body };
    const name = nameOf(body.tenant, caller);
    const counter = this.#counters.get(name);
    assert(counter !== undefined, "a caller's number is loaded before it is given");
    this.#counters.delete(name);
    this.#counters.set(name, counter);
    counter.ahead += 1;
    const number = counter.last + counter.ahead;
    return { body: withNumber(body, number), numbered: { counter, number } };
  }

  /** Gives up guesses of records that were not committed. */
  release(numbers: readonly (Numbered | undefined)[]): void {
    for (const each of numbers) if (each !== undefined) each.counter.ahead -= 1;
  }

  /** Takes over the numbers of committed records. */
  committed(numbers: readonly (Numbered | undefined)[]): void {
    for (const each of numbers) {
      if (each === undefined) continue;
      each.counter.last = each.number;
      each.counter.ahead -= 1;
    }
    this.#evict();
  }

  /** Forgets everything: the ledger is read again. */
  reset(): void {
    this.#counters = new Map();
    this.#loading = new Map();
  }

  async #read(name: string, tenant: string, caller: string): Promise<void> {
    const underWay = this.#loading.get(name);
    if (underWay !== undefined) return underWay;
    const reading = this.#load(tenant, caller).then((last) => {
      if (this.#loading.get(name) !== reading) return;
      this.#counters.set(name, { last, ahead: 0 });
    });
    this.#loading.set(name, reading);
    try {
      await reading;
    } finally {
      if (this.#loading.get(name) === reading) this.#loading.delete(name);
    }
  }

  #evict(): void {
    for (const [name, { ahead }] of this.#counters) {
      if (this.#counters.size <= this.#countersMax) return;
      if (ahead === 0) this.#counters.delete(name);
    }
  }
}

const nameOf = (tenant: string, caller: string): string => `${tenant}\0${caller}`;
