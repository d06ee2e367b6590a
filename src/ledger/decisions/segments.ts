/**
 * How a tenant's decision index grows: the `decisionSegmentMin` oldest decisions outside any segment become rows and a
 * level 0 segment; sixteen segments of one level are merged into one of the next. Each is written once under its own
 * key, never changed, and a function of the records alone.
 */
import { setImmediate as turn } from "node:timers/promises";
import { fail } from "../../errors.ts";
import {
  decisionRowsMax,
  decisionSegmentMin,
  mergeBatchBytesMax,
  projectionOpsMax,
  segmentsMerged,
} from "../../limits.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { decisionRowsKey, postingsKey, prefixRange, segmentKey } from "../layout/keyspace.ts";
import type { ValueSeal } from "./authentic.ts";
import { formatFence, PostingsReader, PostingsWriter, writePostings, type Fence } from "./postings.ts";
import { clockAfter, formatRows, type Clock, type DecisionEntry } from "./rows.ts";
import type { DecisionValues, Segment } from "./values.ts";
import { spanOf } from "./values.ts";

export type SegmentPlace = { readonly tenant: string; readonly seal: ValueSeal };

export type FirstSegment = {
  readonly ops: readonly StoreOp[];
  readonly segment: Segment;
  /** The clock after its last decision. */
  readonly clock: Clock;
};

/** Rows and postings of the 1,024 decisions from `number · 1,024` on. `before` is the clock of their predecessor. */
export const planFirstSegment = (
  { tenant, seal }: SegmentPlace,
  number: number,
  entries: readonly DecisionEntry[],
  before: Clock,
): FirstSegment => {
  const ops: StoreOp[] = [];
  const put = (key: Uint8Array, content: Uint8Array): void =>
    void ops.push({ kind: "put", key, value: seal.seal(key, content) });
  let clock = before;
  for (let from = 0; from < decisionSegmentMin; from += decisionRowsMax) {
    const rows = entries.slice(from, from + decisionRowsMax);
    for (const { ts } of rows) clock = clockAfter(clock, ts);
    const first = number * (decisionSegmentMin / decisionRowsMax);
    put(decisionRowsKey(tenant, first + from / decisionRowsMax), formatRows(rows, clock));
  }
  let values = 0;
  const fence = writePostings(entries, (bytes) => {
    put(postingsKey(tenant, 0, number, values), bytes);
    values += 1;
  });
  put(segmentKey(tenant, 0, number), formatFence(fence));
  return { ops, segment: { level: 0, number, fence }, clock };
};

/** Postings merged between two yields to the event loop: about half a millisecond. */
const postingsPerTurn = 4096;

/** Iterates over one segment's postings in order, with ordinals relative to the merged segment. */
class Source {
  readonly #values: DecisionValues;
  readonly #segment: Segment;
  readonly #offset: number;
  #reader: PostingsReader | undefined;
  #value = 0;
  /** Greater than every term at the end. */
  term = 0;
  ordinal = 0;

  constructor(values: DecisionValues, segment: Segment, offset: number) {
    this.#values = values;
    this.#segment = segment;
    this.#offset = offset;
  }

  /** @returns false if the next value has to be loaded first. */
  next(): boolean {
    if (this.#reader?.next() !== true) return false;
    this.term = this.#reader.term;
    this.ordinal = this.#reader.ordinal + this.#offset;
    return true;
  }

  async load(): Promise<void> {
    if (this.#value === this.#segment.fence.terms.length) {
      this.term = Infinity;
      return;
    }
    this.#reader = new PostingsReader(await this.#values.postings(this.#segment, this.#value));
    this.#value += 1;
    if (!this.next()) fail({ kind: "ledgerCorrupt", position: 0n, rule: "postings of a segment are empty" });
  }
}

export type MergeContext = SegmentPlace & {
  readonly store: Store;
  readonly values: DecisionValues;
  /** Called between steps; throws to abort. The next merge writes everything again. */
  readonly proceed: () => void;
};

/**
 * Merges sixteen segments of one level into one of the next, which becomes visible atomically with its last batch.
 * Yields to the event loop. @param children in order. @throws storeFailed, ledgerCorrupt, and what `proceed` throws.
 */
export const mergeSegments = async (
  children: readonly Segment[],
  { tenant, seal, store, values, proceed }: MergeContext,
): Promise<Segment> => {
  const [first] = children;
  if (first === undefined || children.length !== segmentsMerged) throw new RangeError("sixteen are merged");
  const [level, number] = [first.level + 1, first.number / segmentsMerged];
  let batch: StoreOp[] = [];
  let batchBytes = 0;
  let written = 0;
  const put = (key: Uint8Array, content: Uint8Array): void => {
    batch.push({ kind: "put", key, value: seal.seal(key, content) });
    batchBytes += content.length;
  };
  const flush = async (): Promise<void> => {
    proceed();
    await store.commit(batch);
    [batch, batchBytes] = [[], 0];
  };
  const writer = new PostingsWriter((bytes) => {
    put(postingsKey(tenant, level, number, written), bytes);
    written += 1;
  });
  const sources = children.map((child, index) => new Source(values, child, index * spanOf(first.level)));
  for (const source of sources) await source.load();
  let postings = 0;
  for (;;) {
    let term = Infinity;
    for (const source of sources) if (source.term < term) term = source.term;
    if (term === Infinity) break;
    for (const source of sources) {
      while (source.term === term) {
        writer.add(term, source.ordinal);
        postings += 1;
        if (!source.next()) await source.load();
        if (postings % postingsPerTurn !== 0) continue;
        await turn();
        if (batchBytes >= mergeBatchBytesMax) await flush();
      }
    }
  }
  const fence: Fence = writer.end();
  put(segmentKey(tenant, level, number), formatFence(fence));
  await flush();
  return { level, number, fence };
};

/** Deletions of all shorter segments that a merged one replaces, including leftovers of interrupted merges. */
export async function* dropMerged(
  { tenant, store }: Pick<MergeContext, "tenant" | "store">,
  { level, number }: Segment,
): AsyncGenerator<readonly StoreOp[]> {
  let batch: StoreOp[] = [];
  for (let below = level - 1; below >= 0; below -= 1) {
    const count = segmentsMerged ** (level - below);
    const range = {
      gte: segmentKey(tenant, below, number * count),
      lt: prefixRange(segmentKey(tenant, below, (number + 1) * count - 1)).lt,
    };
    for await (const [key] of store.range(range)) {
      batch.push({ kind: "delete", key });
      if (batch.length < projectionOpsMax) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
