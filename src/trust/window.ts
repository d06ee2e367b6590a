/**
 * A table of sliding rate windows: per name, the checks recorded in the last `windowMs` and those in progress. Pure:
 * the clock is the argument `nowMs`. Limits: at most `limit` times per name, `windowsMax` names, `timesMax` times in
 * total; LRU eviction of names.
 */
import { assert } from "../errors.ts";
import { rateWindowsMax, rateWindowTimesMax } from "../limits.ts";

export type RateLimit = {
  readonly windowMs: number;
  /** Checks per window; counts are capped here, since the rate is already full. */
  readonly limit: number;
};

export type RateWindowOptions = RateLimit & {
  readonly windowsMax?: number;
  readonly timesMax?: number;
  /** Returns known times of a name without a window, oldest first. */
  readonly recall?: (name: string) => ArrayLike<number> | undefined;
};

/** A check in progress, counted until `keep` or `drop` is called; later calls do nothing. */
export type Reservation = {
  /** The count before it. */
  readonly count: number;
  /** Its record is durable: counts at the record's time from now on. */
  readonly keep: (timeMs: number, nowMs: number) => void;
  /** It left no record. */
  readonly drop: () => void;
};

export type RateWindows = {
  /** @returns the checks of the name after `nowMs − windowMs` and those in progress, at most `limit`. Read-only. */
  readonly count: (name: string, nowMs: number) => number;
  readonly reserve: (name: string, nowMs: number) => Reservation;
  /** Records a check without a reservation. @param timeMs in any order. */
  readonly record: (name: string, timeMs: number, nowMs: number) => void;
  /** Removes a window for another table; returns its times, oldest first. Checks in progress stay with this table. */
  readonly take: (name: string) => ArrayLike<number> | undefined;
  /**
   * Applies a new model's window and limit. Times already dropped are lost: after a widening, counts are low until the
   * wider window has passed.
   */
  readonly reconfigure: (next: RateLimit) => void;
  readonly size: () => number;
};

/** Times of one name, oldest first, in a ring buffer that doubles up to the limit. */
type Ring = { times: Float64Array; start: number; length: number; underWay: number };

const ringSlotsMin = 8;

const timeAt = (ring: Ring, index: number): number =>
  ring.times[(ring.start + index) % ring.times.length] ?? Number.NaN;

const setTimeAt = (ring: Ring, index: number, timeMs: number): void => {
  ring.times[(ring.start + index) % ring.times.length] = timeMs;
};

const dropOldest = (ring: Ring, count: number): void => {
  ring.start = (ring.start + count) % ring.times.length;
  ring.length -= count;
};

/** @returns the index of the first time after `timeMs`, by binary search. */
const firstAfter = (ring: Ring, timeMs: number): number => {
  let low = 0;
  let high = ring.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timeAt(ring, middle) > timeMs) high = middle;
    else low = middle + 1;
  }
  return low;
};

/** Copies the newest times into a ring of `slots`. */
const resize = (ring: Ring, slots: number): void => {
  const times = new Float64Array(slots);
  const kept = Math.min(ring.length, slots);
  for (let index = 0; index < kept; index += 1) times[index] = timeAt(ring, ring.length - kept + index);
  ring.times = times;
  ring.start = 0;
  ring.length = kept;
};

/**
 * After a backward clock step, future times are set to now: they still count, but no longer than others, so that a
 * wrong clock cannot lock a principal out for long.
 */
const pullBack = (ring: Ring, nowMs: number): void => {
  for (let index = ring.length - 1; index >= 0 && timeAt(ring, index) > nowMs; index -= 1) {
    setTimeAt(ring, index, nowMs);
  }
};

/** Insertion into a ring with room; cheap, since times arrive nearly sorted. */
const insert = (ring: Ring, timeMs: number): void => {
  let index = ring.length;
  ring.length += 1;
  for (; index > 0 && timeAt(ring, index - 1) > timeMs; index -= 1) {
    setTimeAt(ring, index, timeAt(ring, index - 1));
  }
  setTimeAt(ring, index, timeMs);
};

const checkTime = (timeMs: number): void => assert(Number.isFinite(timeMs), "the clock gave no finite time");

const checkLimit = ({ windowMs, limit }: RateLimit): void => {
  assert(windowMs > 0, "a rate window needs a length");
  assert(Number.isSafeInteger(limit) && limit > 0, "a rate window needs a limit");
};

export const createRateWindows = (options: RateWindowOptions): RateWindows => {
  checkLimit(options);
  const { windowsMax = rateWindowsMax, timesMax = rateWindowTimesMax, recall } = options;
  let { windowMs, limit } = options;
  let slotsHeld = 0;
  /** In LRU order: a Map keeps insertion order. */
  const rings = new Map<string, Ring>();

  const remove = (name: string): void => {
    slotsHeld -= rings.get(name)?.times.length ?? 0;
    rings.delete(name);
  };

  /** Inserts as most recently active; evicts the least recently active beyond the limits. */
  const keep = (name: string, ring: Ring): void => {
    remove(name);
    rings.set(name, ring);
    slotsHeld += ring.times.length;
    for (const oldest of rings.keys()) {
      if (rings.size <= 1 || (rings.size <= windowsMax && slotsHeld <= timesMax)) break;
      remove(oldest);
    }
  };

  const recalled = (name: string): Ring | undefined => {
    const times = recall?.(name);
    if (times === undefined || times.length === 0) return undefined;
    const ring = { times: Float64Array.from(times), start: 0, length: times.length, underWay: 0 };
    if (ring.length > limit) resize(ring, limit);
    keep(name, ring);
    return ring;
  };

  const find = (name: string): Ring | undefined => rings.get(name) ?? recalled(name);

  const open = (name: string): Ring =>
    find(name) ?? {
      times: new Float64Array(Math.min(limit, ringSlotsMin)),
      start: 0,
      length: 0,
      underWay: 0,
    };

  const forgetOld = (ring: Ring, nowMs: number): void => {
    pullBack(ring, nowMs);
    dropOldest(ring, firstAfter(ring, nowMs - windowMs));
  };

  const record = (name: string, timeMs: number, nowMs: number): void => {
    checkTime(timeMs);
    checkTime(nowMs);
    const ring = open(name);
    const held = ring.times.length;
    forgetOld(ring, nowMs);
    const isOldest = ring.length === limit && timeMs <= timeAt(ring, 0);
    if (!isOldest) {
      if (ring.length === limit) dropOldest(ring, 1);
      else if (ring.length === ring.times.length) resize(ring, Math.min(limit, ring.times.length * 2));
      insert(ring, Math.min(timeMs, nowMs));
    }
    if (rings.has(name)) slotsHeld += ring.times.length - held;
    keep(name, ring);
  };

  const countOf = (ring: Ring, nowMs: number): number =>
    Math.min(limit, ring.length - firstAfter(ring, nowMs - windowMs) + ring.underWay);

  return {
    count: (name, nowMs) => {
      checkTime(nowMs);
      const ring = find(name);
      return ring === undefined ? 0 : countOf(ring, nowMs);
    },
    reserve: (name, nowMs) => {
      checkTime(nowMs);
      const ring = open(name);
      const count = countOf(ring, nowMs);
      ring.underWay += 1;
      // For a known name the insert below marks it as most recently active.
      if (!rings.has(name)) keep(name, ring);
      let isUnderWay = true;
      const end = (): boolean => {
        if (!isUnderWay) return false;
        isUnderWay = false;
        ring.underWay -= 1;
        return true;
      };
      return {
        count,
        keep: (timeMs, endMs) => {
          if (end()) record(name, timeMs, endMs);
        },
        drop: () => void end(),
      };
    },
    record,
    take: (name) => {
      const ring = rings.get(name);
      if (ring === undefined) return undefined;
      remove(name);
      return Array.from({ length: ring.length }, (_, index) => timeAt(ring, index));
    },
    reconfigure: (next) => {
      checkLimit(next);
      ({ windowMs, limit } = next);
      for (const ring of rings.values()) {
        if (ring.times.length <= limit) continue;
        slotsHeld -= ring.times.length - limit;
        resize(ring, limit);
      }
    },
    size: () => rings.size,
  };
};
