/**
 * Reads and authenticates the values of one tenant's decision index. A missing or changed value is damage: a listing is
 * complete or fails.
 */
import { fail } from "../../errors.ts";
import { decisionSegmentMin, segmentLevelMax, segmentsMerged } from "../../limits.ts";
import type { Store, StoreSnapshot } from "../../storage/store.ts";
import { decisionRowsKey, postingsKey, segmentKey } from "../layout/keyspace.ts";
import type { ValueSeal } from "./authentic.ts";
import { parseFence, type Fence } from "./postings.ts";
import { parseRows, type Rows } from "./rows.ts";

/** Decisions `number · span` to `(number + 1) · span` of a tenant, where span = 1,024 · 16^level. */
export type Segment = { readonly level: number; readonly number: number; readonly fence: Fence };

export const spanOf = (level: number): number => decisionSegmentMin * segmentsMerged ** level;

export const damagedIndex = (tenant: string, what: string): never =>
  fail({
    kind: "ledgerCorrupt",
    position: 0n,
    rule: `the index of the decisions of tenant "${tenant}": ${what}; run: sigil fsck --data DIR --rebuild-indexes`,
  });

export class DecisionValues {
  readonly tenant: string;
  readonly #store: Store;
  readonly #seal: ValueSeal;
  readonly #snapshot: StoreSnapshot | undefined;

  constructor(tenant: string, store: Store, seal: ValueSeal, snapshot?: StoreSnapshot) {
    this.tenant = tenant;
    this.#store = store;
    this.#seal = seal;
    this.#snapshot = snapshot;
  }

  /** @throws ledgerCorrupt. */
  open(key: Uint8Array, value: Uint8Array, what: string): Uint8Array {
    return this.#seal.open(key, value) ?? damagedIndex(this.tenant, `${what} is damaged`);
  }

  async rows(number: number): Promise<Rows> {
    return parseRows(await this.#read(decisionRowsKey(this.tenant, number), `rows ${number}`));
  }

  /** Undefined if there is no such segment. */
  async fence(level: number, number: number): Promise<Fence | undefined> {
    const key = segmentKey(this.tenant, level, number);
    const value = await this.#get(key);
    return value === undefined
      ? undefined
      : parseFence(this.open(key, value, `segment ${number} of level ${level}`));
  }

  async postings({ level, number }: Pick<Segment, "level" | "number">, value: number): Promise<Uint8Array> {
    const what = `value ${value} of segment ${number} of level ${level}`;
    return this.#read(postingsKey(this.tenant, level, number, value), what);
  }

  /** Segments from the first decision on, the longest possible first. @throws ledgerCorrupt if one is missing. */
  async segments(decisions: number): Promise<readonly Segment[]> {
    const segments: Segment[] = [];
    let ordinal = 0;
    while (ordinal < decisions) {
      const segment = await this.#longestAt(ordinal, decisions);
      if (segment === undefined) {
        return damagedIndex(this.tenant, `no segment begins at decision ${ordinal}`);
      }
      segments.push(segment);
      ordinal += spanOf(segment.level);
    }
    return segments;
  }

  async #longestAt(ordinal: number, decisions: number): Promise<Segment | undefined> {
    for (let level = segmentLevelMax; level >= 0; level -= 1) {
      const span = spanOf(level);
      if (ordinal % span !== 0 || ordinal + span > decisions) continue;
      const fence = await this.fence(level, ordinal / span);
      if (fence !== undefined) return { level, number: ordinal / span, fence };
    }
    return undefined;
  }

  #get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#store.get(key, { snapshot: this.#snapshot });
  }

  async #read(key: Uint8Array, what: string): Promise<Uint8Array> {
    const value = await this.#get(key);
    return value === undefined
      ? damagedIndex(this.tenant, `${what} is missing`)
      : this.open(key, value, what);
  }
}
