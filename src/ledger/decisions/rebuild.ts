/**
 * Rebuilds the decision index from the records; needs exclusive use of the store. Holds one segment's decisions per
 * tenant.
 */
import { decisionSegmentMin, segmentsMerged } from "../../limits.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { decisionTailKey } from "../layout/keyspace.ts";
import { entryOf, unmerged, type DecisionKeys, type WalkedIn } from "./decision-index.ts";
import { formatTail, noTime, type Clock, type DecisionEntry } from "./rows.ts";
import { dropMerged, mergeSegments, planFirstSegment } from "./segments.ts";
import { DecisionValues, type Segment } from "./values.ts";

type Written = {
  readonly keys: DecisionKeys;
  segments: readonly Segment[];
  settled: number;
  clock: Clock;
  /** Decisions from `settled` on. */
  entries: DecisionEntry[];
  /** Groups with decisions past `settled`, and the current one; each becomes one tail value. */
  groups: { readonly first: number; readonly entries: DecisionEntry[] }[];
  isInGroup: boolean;
};

export class DecisionRebuild {
  readonly #store: Store;
  readonly #keys: (tenant: string) => Promise<DecisionKeys>;
  readonly #tenants = new Map<string, Written>();

  constructor(store: Store, keys: (tenant: string) => Promise<DecisionKeys>) {
    this.#store = store;
    this.#keys = keys;
  }

  /** Call in ledger order. */
  async add(walked: WalkedIn): Promise<void> {
    const { tenant } = walked.body;
    let written = this.#tenants.get(tenant);
    if (written === undefined) {
      const keys = await this.#keys(tenant);
      written = { keys, segments: [], settled: 0, clock: noTime, entries: [], groups: [], isInGroup: false };
      this.#tenants.set(tenant, written);
    }
    const entry = entryOf(walked, written.keys.terms);
    if (!written.isInGroup) {
      written.groups.push({ first: written.settled + written.entries.length, entries: [] });
      written.isInGroup = true;
    }
    written.groups.at(-1)?.entries.push(entry);
    written.entries.push(entry);
    if (written.entries.length === decisionSegmentMin) await this.#settle(tenant, written);
  }

  /** Called after the last record of a commit. */
  endGroup(): void {
    for (const written of this.#tenants.values()) written.isInGroup = false;
  }

  /** The tail values: decisions that are in no segment. */
  finish(): readonly StoreOp[] {
    const ops: StoreOp[] = [];
    for (const [tenant, { keys, settled, groups }] of this.#tenants) {
      for (const { first, entries } of groups) {
        if (first + entries.length <= settled) continue;
        const key = decisionTailKey(tenant, first);
        ops.push({ kind: "put", key, value: keys.seal.seal(key, formatTail(entries)) });
      }
    }
    return ops;
  }

  async #settle(tenant: string, written: Written): Promise<void> {
    const { keys, settled, entries, clock } = written;
    const { seal } = keys;
    const store = this.#store;
    const planned = planFirstSegment({ tenant, seal }, settled / decisionSegmentMin, entries, clock);
    await store.commit(planned.ops);
    written.settled += decisionSegmentMin;
    written.clock = planned.clock;
    written.entries = [];
    // Keep only the current group.
    written.groups = written.groups.slice(-1);
    written.segments = [...written.segments, planned.segment];
    const values = new DecisionValues(tenant, store, seal);
    for (
      let [first] = unmerged(written.segments);
      first !== undefined;
      [first] = unmerged(written.segments)
    ) {
      const from = written.segments.indexOf(first);
      const children = written.segments.slice(from, from + segmentsMerged);
      const merged = await mergeSegments(children, { tenant, seal, store, values, proceed: () => {} });
      for await (const batch of dropMerged({ tenant, store }, merged)) await store.commit(batch);
      written.segments = written.segments.toSpliced(from, segmentsMerged, merged);
    }
  }
}
