/**
 * Searches a tenant's decisions by terms and time. Of several terms the rarest is scanned and the others are looked up;
 * a time range becomes a range of ordinals. May return false positives, no false negatives: callers open and verify the
 * record and filter again. Reads one view of the index in slices, so that the caller may stop or yield after each.
 */

import { decisionRowsMax, foundSliceMax } from "../../limits.ts";
import type { Store, StoreSnapshot } from "../../storage/store.ts";
import type { DecisionView } from "./decision-index.ts";
import { ordinalsIn, valueOf, valuesOf } from "./postings.ts";
import type { DecisionRow, Rows } from "./rows.ts";
import type { DecisionFilter } from "./terms.ts";
import { DecisionValues, spanOf, type Segment } from "./values.ts";

/** Which decisions to walk. Positions at or past `size`, or below `from`, are ignored. */
export type DecisionWalk = {
  readonly tenant: string;
  readonly filter: DecisionFilter;
  readonly order: "newestFirst" | "oldestFirst";
  readonly size: bigint;
  readonly from?: bigint;
  /** The first position to examine, in walk order. */
  readonly start?: bigint;
};

/** A part of a walk, in walk order: positions that may match, and where to resume. */
export type DecisionSlice = {
  readonly positions: readonly bigint[];
  /** The `start` of a later walk that resumes after this slice; undefined at the end. */
  readonly resume: () => Promise<bigint | undefined>;
};

/** A range of ordinals, `low` inclusive, `high` exclusive. */
type Span = { readonly low: number; readonly high: number };

const overlap = (a: Span, b: Span): Span => ({
  low: Math.max(a.low, b.low),
  high: Math.min(a.high, b.high),
});

/** Rows found in a span; `rest` is the ordinal at which the walk resumes. */
type Found = { readonly rows: readonly DecisionRow[]; readonly rest: number };

/** Binary search: the first index below `count` for which `holds` is true, else `count`. `holds` is monotone. */
const firstThat = async (count: number, holds: (index: number) => Promise<boolean>): Promise<number> => {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
};

/** Cached values: lookups of common terms hit the same value repeatedly. */
const rememberedValuesMax = 64;

class Recent<Value> {
  readonly #values = new Map<string, Value>();

  async get(name: string, read: () => Promise<Value>): Promise<Value> {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const value = await read();
    const [oldest] = this.#values.keys();
    if (oldest !== undefined && this.#values.size >= rememberedValuesMax) this.#values.delete(oldest);
    this.#values.set(name, value);
    return value;
  }
}

export class DecisionSearch {
  readonly #view: DecisionView;
  readonly #values: DecisionValues;
  readonly #rows = new Recent<Rows>();
  readonly #ordinals = new Recent<readonly number[]>();
  /** Number of decisions. */
  readonly total: number;

  constructor(view: DecisionView, store: Store, snapshot: StoreSnapshot) {
    this.#view = view;
    this.#values = new DecisionValues(view.tenant, store, view.seal, snapshot);
    this.total = view.settled + view.tailLength;
  }

  async *walk({ filter, order, size, from = 0n, start }: DecisionWalk): AsyncGenerator<DecisionSlice> {
    const reverse = order === "newestFirst";
    const end = reverse && start !== undefined && start < size ? start + 1n : size;
    const first = !reverse && start !== undefined && start > from ? start : from;
    const span = overlap(await this.#spanOfTimes(filter), {
      low: await this.#ordinalsBelow(first),
      high: await this.#ordinalsBelow(end),
    });
    const terms = this.#view.terms.wanted(filter);
    for await (const { rows, rest } of this.#find(terms, span, reverse)) {
      const positions = rows
        .filter(({ ts }) => !(ts < (filter.fromMs ?? 0)) && !(ts >= (filter.untilMs ?? Infinity)))
        .map(({ position }) => BigInt(position));
      const isEnd = reverse ? rest <= span.low : rest >= span.high;
      const next = reverse ? rest - 1 : rest;
      yield {
        positions,
        resume: async () => (isEnd ? undefined : BigInt((await this.#rowAt(next)).position)),
      };
    }
  }

  /** Positions that may hold the decision with this id, newest first. */
  async *positionsOf(id: string): AsyncGenerator<bigint> {
    const span = { low: 0, high: this.total };
    for await (const { rows } of this.#find([this.#view.terms.id(id)], span, true)) {
      for (const { position } of rows) yield BigInt(position);
    }
  }

  /** Rows of decisions before an ordinal, in batches: yielding them one by one would cost more than reading them. */
  async *newestFirst(below: number = this.total): AsyncGenerator<readonly DecisionRow[]> {
    for await (const { rows } of this.#find([], { low: 0, high: below }, true)) yield rows;
  }

  async *#find(terms: readonly number[], span: Span, reverse: boolean): AsyncGenerator<Found> {
    const { segments, settled } = this.#view;
    const tail = overlap(span, { low: settled, high: this.total });
    if (reverse && tail.low < tail.high) yield this.#findInTail(terms, tail, reverse);
    for (const segment of reverse ? segments.toReversed() : segments) {
      const low = segment.number * spanOf(segment.level);
      const part = overlap(span, { low, high: low + spanOf(segment.level) });
      if (part.low >= part.high) continue;
      if (terms.length === 0) yield* this.#everything(part, reverse);
      else yield* this.#findInSegment(terms, segment, part, reverse);
    }
    if (!reverse && tail.low < tail.high) yield this.#findInTail(terms, tail, reverse);
  }

  #findInTail(terms: readonly number[], { low, high }: Span, reverse: boolean): Found {
    const { tail, settled } = this.#view;
    const rows = tail
      .slice(low - settled, high - settled)
      .filter((entry) => terms.every((term) => entry.terms.includes(term)));
    return { rows: reverse ? rows.toReversed() : rows, rest: reverse ? low : high };
  }

  async *#everything({ low, high }: Span, reverse: boolean): AsyncGenerator<Found> {
    let left = { low, high };
    while (left.low < left.high) {
      const value = Math.floor((reverse ? left.high - 1 : left.low) / decisionRowsMax);
      const part = overlap(left, { low: value * decisionRowsMax, high: (value + 1) * decisionRowsMax });
      const stored = await this.#rowsAt(value);
      const first = part.low - value * decisionRowsMax;
      const rows = Array.from({ length: part.high - part.low }, (_, index) => stored.at(first + index));
      const rest = reverse ? part.low : part.high;
      left = reverse ? { low, high: rest } : { low: rest, high };
      yield { rows: reverse ? rows.reverse() : rows, rest };
    }
  }

  /** Scans the rarest term value by value and keeps the ordinals that have all other terms. */
  async *#findInSegment(
    terms: readonly number[],
    segment: Segment,
    { low, high }: Span,
    reverse: boolean,
  ): AsyncGenerator<Found> {
    const { fence } = segment;
    const offset = segment.number * spanOf(segment.level);
    const widthOf = (term: number): number => {
      const { first, end } = valuesOf(fence, term);
      return end - first;
    };
    const [rarest, ...others] = terms.toSorted((a, b) => widthOf(a) - widthOf(b));
    if (rarest === undefined) return;
    const first = valueOf(fence, rarest, low - offset);
    const last = valueOf(fence, rarest, high - 1 - offset);
    for (let step = 0; step <= last - first; step += 1) {
      const value = reverse ? last - step : first + step;
      let ordinals = (await this.#ordinalsOf(segment, value, rarest)).filter(
        (ordinal) => ordinal >= low - offset && ordinal < high - offset,
      );
      for (const other of others) ordinals = await this.#having(other, ordinals, segment);
      // Where the next value of this term begins (or this one, in reverse): everything up to there was examined.
      const border = fence.ordinals[reverse ? value : value + 1] ?? 0;
      const rest = value === (reverse ? first : last) ? (reverse ? low : high) : offset + border;
      const found = reverse ? ordinals.toReversed() : ordinals;
      for (let from = 0; from < found.length; from += foundSliceMax) {
        const part = found.slice(from, from + foundSliceMax).map((ordinal) => offset + ordinal);
        const next = found[from + foundSliceMax];
        const partRest = next === undefined ? rest : offset + next + (reverse ? 1 : 0);
        yield { rows: await this.#rowsOf(part), rest: partRest };
      }
      if (found.length === 0) yield { rows: [], rest };
    }
  }

  /** The given ascending ordinals that have the term. */
  async #having(term: number, ordinals: readonly number[], segment: Segment): Promise<number[]> {
    const kept: number[] = [];
    let loaded = -1;
    let list: readonly number[] = [];
    let at = 0;
    for (const ordinal of ordinals) {
      const value = valueOf(segment.fence, term, ordinal);
      if (value !== loaded) {
        list = await this.#ordinalsOf(segment, value, term);
        [loaded, at] = [value, 0];
      }
      while (at < list.length && (list[at] as number) < ordinal) at += 1;
      if (list[at] === ordinal) kept.push(ordinal);
    }
    return kept;
  }

  #ordinalsOf(segment: Segment, value: number, term: number): Promise<readonly number[]> {
    const name = `${segment.level}/${segment.number}/${value}/${term}`;
    return this.#ordinals.get(name, async () =>
      ordinalsIn(await this.#values.postings(segment, value), term),
    );
  }

  #rowsAt(value: number): Promise<Rows> {
    return this.#rows.get(String(value), () => this.#values.rows(value));
  }

  async #rowAt(ordinal: number): Promise<DecisionRow> {
    const { tail, settled } = this.#view;
    if (ordinal >= settled) return tail[ordinal - settled] as DecisionRow;
    return (await this.#rowsAt(Math.floor(ordinal / decisionRowsMax))).at(ordinal % decisionRowsMax);
  }

  async #rowsOf(ordinals: readonly number[]): Promise<readonly DecisionRow[]> {
    const rows: DecisionRow[] = [];
    for (const ordinal of ordinals) rows.push(await this.#rowAt(ordinal));
    return rows;
  }

  /** Number of decisions before a position. */
  async #ordinalsBelow(position: bigint): Promise<number> {
    const { tail, settled, tailLength } = this.#view;
    const [below, [oldest]] = [Number(position), tail];
    if (tailLength > 0 && oldest !== undefined && oldest.position < below) {
      return (
        settled + (await firstThat(tailLength, async (index) => (tail[index]?.position ?? below) >= below))
      );
    }
    const value = await firstThat(
      settled / decisionRowsMax,
      async (index) => (await this.#rowsAt(index)).positionAt(decisionRowsMax - 1) >= below,
    );
    if (value === settled / decisionRowsMax) return settled;
    const rows = await this.#rowsAt(value);
    const within = await firstThat(decisionRowsMax, async (index) => rows.positionAt(index) >= below);
    return value * decisionRowsMax + within;
  }

  /** A span of ordinals that covers every decision in the time range. */
  async #spanOfTimes({ fromMs, untilMs }: Pick<DecisionFilter, "fromMs" | "untilMs">): Promise<Span> {
    const { settled, clock } = this.#view;
    const values = settled / decisionRowsMax;
    const latest = async (value: number): Promise<number> => (await this.#rowsAt(value)).clock.latestMs;
    const low =
      fromMs === undefined ? 0 : await firstThat(values, async (value) => (await latest(value)) >= fromMs);
    // No decision is more than `latenessMs` below the maximum time before it.
    const high =
      untilMs === undefined
        ? undefined
        : await firstThat(values, async (value) => (await latest(value)) - clock.latenessMs >= untilMs);
    const isWithin = high !== undefined && high < values;
    return { low: low * decisionRowsMax, high: isWithin ? (high + 1) * decisionRowsMax : this.total };
  }
}
