/**
 * A projection against the ledger: both are read in step, and the first place where they differ is named. Everything
 * that the ledger's side says is verified as it is read. Memory is bounded by a batch.
 */
import { equalBytes } from "@sigil/core/bytes";
import { emptyFrontier } from "@sigil/core/merkle";
import type { RecordBody } from "@sigil/core/record";
import type { CborValue } from "@sigil/core/cbor";
import { gatherBatches } from "./backlog.ts";
import { noProgress, resumeConsumer, takeBatch, type ConsumerOptions, type Place } from "./consumer.ts";
import { addRows, canonicalRow, noDigests, type Digests } from "./digest.ts";
import type { LaneSource } from "./message.ts";
import { rowsOf, type Rows } from "./rows.ts";
import { appendedNames, appendedTables, type AppendedTable, type Row } from "./tables.ts";

export type Difference = {
  readonly table: string;
  /** Undefined where it is not one place that differs. */
  readonly position: bigint | undefined;
  readonly rule: string;
};

/** The stored half. */
export type StoredRows = {
  /** Every position below was projected. */
  readonly next: bigint;
  /** Rows of positions from `from` up to `to`, each table in its order. */
  readonly read: (from: bigint, to: bigint) => Promise<Rows>;
  /** What does not follow from single places: heads, cursors, rows past the end. */
  readonly inspect: (digests: Digests) => Promise<Difference | undefined>;
};

/** Of rows that are held at once, where no batch of the ledger says how many. */
const chunkPositions = 2000n;

export type Comparison = {
  readonly next: bigint;
  /** Newest places that the source has and the projection lacks: it follows later, or never where they were lost. */
  readonly behind: bigint;
  readonly ledger: Digests;
  readonly stored: Digests;
  readonly difference: Difference | undefined;
};

const equalCells = (one: CborValue | undefined, two: CborValue | undefined): boolean =>
  one instanceof Uint8Array && two instanceof Uint8Array ? equalBytes(one, two) : one === two;

const positionOf = (row: Row | undefined): bigint | undefined => {
  const position = row?.["position"];
  return typeof position === "bigint" ? position : undefined;
};

const differenceIn = (
  table: AppendedTable,
  expected: readonly Row[],
  found: readonly Row[],
): Difference | undefined => {
  const spec = appendedTables[table];
  const names = Object.keys(spec.columns);
  for (let at = 0; at < Math.max(expected.length, found.length); at += 1) {
    const [want, have] = [expected[at], found[at]];
    const [wanted, had] = [positionOf(want), positionOf(have)];
    if (want === undefined || (had !== undefined && wanted !== undefined && had < wanted)) {
      return { table, position: had, rule: "there is a row that the ledger does not give" };
    }
    if (have === undefined || (had !== undefined && wanted !== undefined && had > wanted)) {
      return { table, position: wanted, rule: "the row is missing" };
    }
    const [ours, theirs] = [canonicalRow(spec, want), canonicalRow(spec, have)];
    const column = names.find((_, index) => !equalCells(ours[index], theirs[index]));
    if (column !== undefined) {
      return { table, position: wanted, rule: `column ${column} is not what the ledger gives` };
    }
  }
  return undefined;
};

/** What the filter lets through; of what is erased, whose tenant and kind nobody knows any more, what is stored. */
const filtered = (
  places: readonly Place[],
  keeps: (body: RecordBody) => boolean,
  rows: Rows,
): readonly Place[] => {
  const held = new Set(rows.record_versions.map(positionOf));
  return places.filter(({ position, record }) =>
    record === undefined ? held.has(position) : keeps(record.body),
  );
};

/**
 * @throws ProjectionFault for a ledger that does not verify; whatever the source or the database throws; the reason of
 * `signal`.
 */
export const compareWithLedger = async (
  source: LaneSource,
  stored: StoredRows,
  options: ConsumerOptions & {
    /** Places that the source has now: asked when `stored` is a snapshot, which may hold more than it had before. */
    readonly sourceSize: () => Promise<bigint>;
    readonly signal: AbortSignal;
    /** What was projected through a filter: which records it lets through. What is erased could be any. */
    readonly keeps?: (body: RecordBody) => boolean;
    readonly onProgress?: (compared: bigint) => void;
  },
): Promise<Comparison> => {
  const { next } = stored;
  const { keeps } = options;
  let consumer = resumeConsumer(noProgress, undefined);
  let [ledger, found] = [noDigests, noDigests];
  let difference: Difference | undefined;
  const compare = async (places: readonly Place[]): Promise<void> => {
    const [first, last] = [places[0], places.at(-1)];
    if (first === undefined || last === undefined) return;
    const rows = await stored.read(first.position, last.position + 1n);
    const expected = rowsOf(keeps === undefined ? places : filtered(places, keeps, rows));
    for (const table of appendedNames) difference ??= differenceIn(table, expected[table], rows[table]);
    [ledger, found] = [addRows(ledger, expected), addRows(found, rows)];
    options.onProgress?.(last.position + 1n);
  };
  const size = await options.sourceSize();
  const end = size < next ? size : next;
  if (end > 0n) {
    const stopping = new AbortController();
    const signal = AbortSignal.any([options.signal, stopping.signal]);
    try {
      for await (const batch of gatherBatches(source.after(consumer.lanes, { signal }))) {
        const taken = await takeBatch(consumer, batch, options);
        ({ consumer } = taken);
        await compare(taken.places.filter(({ position }) => position < next));
        if (signal.aborted || consumer.next >= end || batch.isDrained === true) break;
      }
    } finally {
      // It may be waiting for more, which will not come.
      stopping.abort();
    }
  }
  // What was not compared is no difference.
  options.signal.throwIfAborted();
  if (consumer.next < next) {
    difference ??= {
      table: "record_versions",
      position: consumer.next,
      rule: `the source ends here, and the projection holds ${next} places`,
    };
  }
  difference ??= await stored.inspect(keeps === undefined ? found : { ...found, frontier: emptyFrontier });
  return { next, behind: size > next ? size - next : 0n, ledger, stored: found, difference };
};

/** What is stored comes to, without a ledger to compare it with. */
export const digestStored = async (stored: StoredRows): Promise<Digests> => {
  let digests = noDigests;
  for (let from = 0n; from < stored.next; from += chunkPositions) {
    const to = from + chunkPositions < stored.next ? from + chunkPositions : stored.next;
    digests = addRows(digests, await stored.read(from, to));
  }
  return digests;
};
