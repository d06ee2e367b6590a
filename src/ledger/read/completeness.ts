/**
 * Checks, before an index is used, that it has exactly the entries that the ledger's summary counts. Scans the whole
 * index once after each opening, before its first use; from then on an absent entry means that there is none. Holds one
 * entry at a time. Source: docs/spec/ledger.md §8.
 */
import { concatBytes, equalBytes, readU64be } from "@sigil/core/bytes";
import { fail, SigilFault, type SigilError } from "../../errors.ts";
import { projectionOpsMax } from "../../limits.ts";
import { systemTenant } from "@sigil/core/record";
import { randomBytes } from "../../crypto/random.ts";
import type { ReadOptions, Store } from "../../storage/store.ts";
import { blindOf, expiryOf, tenantOfEntry } from "../append/idempotency.ts";
import { familyRange, idempotencyKey, prefixRange, tenantPrefix } from "../layout/keyspace.ts";
import { addSums, emptySum, type SummaryKey } from "../layout/multiset.ts";
import type { Summary, Tally, Totals } from "../layout/summary.ts";

type Reading = { readonly store: Store; readonly at: ReadOptions };

const broken = (what: string): never =>
  fail({
    kind: "ledgerCorrupt",
    position: 0n,
    rule: `${what} not what the ledger's summary says; run: sigil fsck --data DIR --rebuild-indexes`,
  });

const prime = 2n ** 127n - 1n;

/**
 * Compares two sets of positions read in different orders: evaluates the polynomials with those roots at a random point
 * chosen here, so that nobody can prepare a collision.
 */
class PlaceSet {
  readonly #point: bigint;
  #product = 1n;

  constructor(point: bigint) {
    this.#point = point;
  }

  add(position: bigint, tag: Uint8Array): void {
    const view = new DataView(tag.buffer, tag.byteOffset, tag.byteLength);
    const place = (position << 32n) | BigInt(view.getUint32(0));
    this.#product = (this.#product * (this.#point + place)) % prime;
  }

  equals(other: PlaceSet): boolean {
    return this.#product === other.#product;
  }
}

const drawPoint = (): bigint => {
  const bytes = randomBytes(16);
  return ((readU64be(bytes) << 64n) | readU64be(bytes, 8)) % prime;
};

const tagBytes = 4;
const versionEntryBytes = 8 + tagBytes;
/** A version key ends with a NUL and the version number. */
const versionEndBytes = 9;

/** Compares the id index with the heads of the version index; both are in the same order. */
class HeadCheck implements AsyncDisposable {
  readonly #entries: AsyncIterator<readonly [Uint8Array, Uint8Array]>;
  #name: Uint8Array | undefined;
  #head: Uint8Array = emptySum;

  constructor({ store, at }: Reading, tenant: string) {
    const range = prefixRange(tenantPrefix("i", tenant));
    this.#entries = store.range({ ...range, ...at })[Symbol.asyncIterator]();
  }

  /**
   * Call per version; versions of one id are consecutive, the newest last. @returns false if the previous head is
   * wrong.
   */
  async add(name: Uint8Array, head: Uint8Array): Promise<boolean> {
    const isNext = this.#name !== undefined && !equalBytes(this.#name, name);
    const holds = !isNext || (await this.#take());
    this.#name = name;
    this.#head = head;
    return holds;
  }

  async finish(): Promise<boolean> {
    if (this.#name !== undefined && !(await this.#take())) return false;
    return (await this.#entries.next()).done === true;
  }

  async #take(): Promise<boolean> {
    const next = await this.#entries.next();
    if (next.done === true || this.#name === undefined) return false;
    const [key, value] = next.value;
    return equalBytes(key.subarray(1), this.#name) && equalBytes(value, this.#head);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries.return?.();
  }
}

/**
 * Checks a tenant's version, id and ledger-order indexes (decisions excluded): versions against the summary's digest,
 * the two others against the versions. @throws ledgerCorrupt.
 */
export const checkVersions = async (
  reading: Reading,
  key: SummaryKey,
  tenant: string,
  tally: Tally | undefined,
): Promise<void> => {
  const { store, at } = reading;
  const point = drawPoint();
  const [versions, places] = [new PlaceSet(point), new PlaceSet(point)];
  const wrong = (): never => broken(`the index of the records of tenant "${tenant}" is`);
  let [count, sum] = [0, emptySum];
  await using heads = new HeadCheck(reading, tenant);
  for await (const [entryKey, value] of store.range({ ...prefixRange(tenantPrefix("v", tenant)), ...at })) {
    if (value.length !== versionEntryBytes || entryKey.length <= versionEndBytes) wrong();
    count += 1;
    sum = addSums(sum, key.element(entryKey, value));
    versions.add(readU64be(value), value.subarray(8));
    const name = entryKey.subarray(1, entryKey.length - versionEndBytes);
    const head = concatBytes(value.subarray(0, 8), entryKey.subarray(entryKey.length - 8));
    if (!(await heads.add(name, head))) wrong();
  }
  if (!(await heads.finish())) wrong();
  if (count !== (tally?.records ?? 0) || !equalBytes(sum, tally?.versions ?? emptySum)) wrong();
  let placed = 0;
  for await (const [entryKey, tag] of store.range({ ...prefixRange(tenantPrefix("w", tenant)), ...at })) {
    if (tag.length !== tagBytes || entryKey.length <= 8) wrong();
    placed += 1;
    places.add(readU64be(entryKey, entryKey.length - 8), tag);
  }
  if (placed !== count || !places.equals(versions)) wrong();
};

const countOf = async (
  { store, at }: Reading,
  range: { readonly gte: Uint8Array; readonly lt: Uint8Array },
) => {
  let count = 0;
  for await (const _ of store.range({ ...range, ...at })) count += 1;
  return count;
};

/** Checks that the hash index has no missing entry. @throws ledgerCorrupt. */
const checkHashes = async (reading: Reading, { hashes }: Totals): Promise<void> => {
  // Surplus entries belong to erased records that could not be opened one last time, or are reported by fsck.
  if ((await countOf(reading, familyRange("h"))) < hashes) broken("the index of hashes is");
};

/**
 * Checks that every unexpired idempotency key has its entry: expiries against the summary's digest, and each future
 * expiry must have an entry that expires no earlier. @throws ledgerCorrupt.
 */
export const checkIdempotencyKeys = async (
  { store, at }: Reading,
  key: SummaryKey,
  { expiries, expirySum }: Totals,
  nowMs: number,
): Promise<void> => {
  const wrong = (): never => broken("the idempotency entries are");
  let [count, sum] = [0, emptySum];
  let due: Uint8Array[] = [];
  const look = async (): Promise<void> => {
    const entries = await store.getMany(
      due.map((entryKey) => idempotencyKey(blindOf(entryKey))),
      at,
    );
    for (const [index, entryKey] of due.entries()) {
      const expires = expiryOf(entryKey);
      const entry = entries[index];
      if (expires <= nowMs) continue;
      if (entry === undefined || (tenantOfEntry(entry)?.expires ?? 0) < expires) wrong();
    }
    due = [];
  };
  for await (const [entryKey, value] of store.range({ ...familyRange("e"), ...at })) {
    count += 1;
    sum = addSums(sum, key.element(entryKey, value));
    due.push(entryKey);
    if (due.length === projectionOpsMax) await look();
  }
  await look();
  if (count !== expiries || !equalBytes(sum, expirySum)) wrong();
};

/** A store snapshot taken while nothing is written, with the matching summary. */
export type Pinned = AsyncDisposable &
  Reading & { readonly tally: Tally | undefined; readonly totals: Totals };

type CompletenessSteps = {
  readonly key: SummaryKey;
  readonly summary: () => Summary;
  /** @param tenant whose tally to include. */
  readonly pin: (tenant: string) => Promise<Pinned>;
  readonly nowMs: () => number;
  readonly onBroken: (error: SigilError) => void;
};

type Known = Promise<void> | "whole" | SigilError;

/** The indexes found complete since the store was opened. */
export class Completeness {
  readonly #steps: CompletenessSteps;
  #known = new Map<string, Known>();

  constructor(steps: CompletenessSteps) {
    this.#steps = steps;
  }

  /** Called after a reopening: earlier results no longer hold. @param tenants checked since. */
  reset(tenants: Iterable<string>): void {
    this.#known = new Map();
    for (const tenant of tenants) this.#known.set(versionsOf(tenant), "whole");
  }

  /**
   * Checks the indexes of a tenant's records (decisions excluded). Undefined if already found complete. @throws
   * ledgerCorrupt.
   */
  versions(tenant: string): Promise<void> | undefined {
    // Nothing is kept for a tenant without records, or invented names could fill the memory.
    if (this.#steps.summary().tallyOf(tenant) === undefined) return undefined;
    return this.#require(versionsOf(tenant), tenant, (pinned) =>
      checkVersions(pinned, this.#steps.key, tenant, pinned.tally),
    );
  }

  /** @throws ledgerCorrupt. */
  hashes(): Promise<void> | undefined {
    return this.#require("h", systemTenant, (pinned) => checkHashes(pinned, pinned.totals));
  }

  /** @throws ledgerCorrupt. */
  idempotencyKeys(): Promise<void> | undefined {
    return this.#require("e", systemTenant, (pinned) =>
      checkIdempotencyKeys(pinned, this.#steps.key, pinned.totals, this.#steps.nowMs()),
    );
  }

  #require(
    name: string,
    tenant: string,
    check: (pinned: Pinned) => Promise<void>,
  ): Promise<void> | undefined {
    const known = this.#known.get(name);
    if (known === "whole") return undefined;
    if (known instanceof Promise) return known;
    if (known !== undefined) return Promise.reject(new SigilFault(known));
    const all = this.#known;
    const settle = (outcome: Known | undefined): void => {
      if (outcome === undefined) all.delete(name);
      else all.set(name, outcome);
    };
    const checking = this.#check(tenant, check).then(
      () => settle("whole"),
      (cause: unknown) => {
        const isBroken = cause instanceof SigilFault && cause.error.kind === "ledgerCorrupt";
        // A check that failed to run is repeated.
        settle(isBroken ? cause.error : undefined);
        if (isBroken) this.#steps.onBroken(cause.error);
        throw cause;
      },
    );
    all.set(name, checking);
    return checking;
  }

  async #check(tenant: string, check: (pinned: Pinned) => Promise<void>): Promise<void> {
    await using pinned = await this.#steps.pin(tenant);
    await check(pinned);
  }
}

const versionsOf = (tenant: string): string => `v${tenant}`;
