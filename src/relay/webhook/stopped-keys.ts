/**
 * The keys that a webhook's receiver refused a record of, and the positions held back behind it: a JSON file, replaced
 * atomically. It names positions and no contents, so that what is erased meanwhile is gone here too. Unlike a cursor it
 * is no hint: without it those records would be lost, so a file that cannot be read stops the relay.
 */
import { readFile } from "node:fs/promises";
import { relayPendingMax, relayStoppedKeysMax } from "../../limits.ts";
import { isMissing, replaceFile } from "../cursor-file.ts";
import { failRelay, type StoppedKey } from "../destination.ts";
import type { Lane } from "../event.ts";

/** A record held back, and its place in the lane that it is to be published with. */
export type Pending = Lane & { readonly position: bigint };

type Stop = { readonly rule: string; readonly pending: readonly Pending[] };

const isPosition = (value: unknown): value is string => typeof value === "string" && /^\d{1,20}$/.test(value);

const asRecord = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;

const parsePending = (value: unknown): Pending | undefined => {
  const { position, generation, prev } = asRecord(value) ?? {};
  if (!isPosition(position) || !Number.isSafeInteger(generation)) return undefined;
  if (prev !== null && !isPosition(prev)) return undefined;
  return {
    position: BigInt(position),
    generation: Number(generation),
    prev: prev === null ? undefined : BigInt(prev),
  };
};

const parseStop = (value: unknown): readonly [string, Stop] | undefined => {
  const { key, rule, pending } = asRecord(value) ?? {};
  if (typeof key !== "string" || typeof rule !== "string" || !Array.isArray(pending)) return undefined;
  const parsed = pending.map(parsePending);
  const whole = parsed.filter((one) => one !== undefined);
  return whole.length === 0 || whole.length < parsed.length ? undefined : [key, { rule, pending: whole }];
};

/** @returns undefined if it is malformed. */
const parseStops = (text: string): ReadonlyMap<string, Stop> | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    if (!Array.isArray(value)) return undefined;
    const stops = value.map(parseStop);
    return stops.includes(undefined) ? undefined : new Map(stops.filter((one) => one !== undefined));
  } catch {
    return undefined;
  }
};

const formatStops = (stops: ReadonlyMap<string, Stop>): string => {
  const lines = [...stops].map(([key, { rule, pending }]) =>
    JSON.stringify({
      key,
      rule,
      pending: pending.map(({ position, generation, prev }) => ({
        position: String(position),
        generation,
        prev: prev === undefined ? null : String(prev),
      })),
    }),
  );
  return `[${lines.join(",\n")}]\n`;
};

const byPosition = (a: Pending, b: Pending): number =>
  a.position < b.position ? -1 : Number(a.position > b.position);

export class StoppedKeys {
  readonly #path: string;
  #stops: ReadonlyMap<string, Stop>;
  #isSaved = true;

  private constructor(path: string, stops: ReadonlyMap<string, Stop>) {
    this.#path = path;
    this.#stops = stops;
  }

  /** @throws RelayFault refused, if the file is malformed or cannot be read. */
  static async read(path: string): Promise<StoppedKeys> {
    const text = await readFile(path, "utf8").catch((cause: unknown) =>
      isMissing(cause) ? "[]" : failRelay({ kind: "refused", rule: `cannot read ${path}` }, { cause }),
    );
    const stops = parseStops(text);
    const rule = `${path} holds no list of stopped keys: restore it, or remove it and reset the relay`;
    return new StoppedKeys(path, stops ?? failRelay({ kind: "refused", rule }));
  }

  has(key: string): boolean {
    return this.#stops.has(key);
  }

  /** In the order of positions. */
  pendingOf(key: string): readonly Pending[] {
    return this.#stops.get(key)?.pending ?? [];
  }

  get list(): readonly StoppedKey[] {
    return [...this.#stops].map(([key, { rule, pending }]) => ({
      key,
      position: pending[0]?.position ?? 0n,
      pending: pending.length,
      rule,
    }));
  }

  /**
   * Holds a record back, once: a later generation of the same position replaces the earlier.
   * @param rule of the first record of a key.
   * @throws RelayFault refused, beyond the limits; nothing is lost, since the relay goes no further then.
   */
  hold(key: string, record: Pending, rule: string): void {
    const before = this.#stops.get(key);
    const others = (before?.pending ?? []).filter(({ position }) => position !== record.position);
    const isNew = others.length === (before?.pending.length ?? 0);
    const count = [...this.#stops.values()].reduce((sum, { pending }) => sum + pending.length, 0);
    if (
      isNew &&
      (count >= relayPendingMax || (before === undefined && this.#stops.size >= relayStoppedKeysMax))
    ) {
      failRelay({
        kind: "refused",
        rule: `${this.#stops.size} keys are stopped and ${count} records held back, as many as there may be; let the receiver accept them and resume, or set poison = dead_letter and resume`,
      });
    }
    const pending = [...others, record].sort(byPosition);
    this.#change(new Map([...this.#stops, [key, { rule: before?.rule ?? rule, pending }]]));
  }

  /** The record was accepted, given up or erased; the key goes on once nothing is pending. */
  release(key: string, released: bigint): void {
    const before = this.#stops.get(key);
    if (before === undefined) return;
    const pending = before.pending.filter(({ position }) => position !== released);
    const rest = [...this.#stops].filter(([one]) => one !== key);
    this.#change(new Map(pending.length === 0 ? rest : [...rest, [key, { ...before, pending }]]));
  }

  /** The key stays stopped, for a reason of now. */
  explain(key: string, rule: string): void {
    const before = this.#stops.get(key);
    if (before !== undefined) this.#change(new Map([...this.#stops, [key, { ...before, rule }]]));
  }

  /** Durable when it resolves. */
  async save(): Promise<void> {
    if (this.#isSaved) return;
    this.#isSaved = true;
    try {
      await replaceFile(this.#path, formatStops(this.#stops));
    } catch (cause) {
      this.#isSaved = false;
      failRelay({ kind: "retryable", rule: `cannot write ${this.#path}` }, { cause });
    }
  }

  #change(stops: ReadonlyMap<string, Stop>): void {
    this.#stops = stops;
    this.#isSaved = false;
  }
}
