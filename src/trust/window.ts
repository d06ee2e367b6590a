/**
 * A table of sliding rate windows: of each name, how many checks were recorded in the last `windowMs`, and how many are
 * under way. Pure: the clock comes in as `nowMs`. Bounded three ways: at most `limit` times a name, `windowsMax` names,
 * `timesMax` times in all; the least recently active name leaves first.
 */
import { assert } from "../errors.ts";
import { rateWindowsMax, rateWindowTimesMax } from "../limits.ts";

export type RateLimit = {
  readonly windowMs: number;
  /** Checks a window; counts stop there, because more would not change a rate that is already full. */
  readonly limit: number;
};

export type RateWindowOptions = RateLimit & {
  readonly windowsMax?: number;
  readonly timesMax?: number;
  /** Times of a name that the table has no window of, oldest first: from where else they are known. */
  readonly recall?: (name: string) => ArrayLike<number> | undefined;
};

/** A check under way: it counts until one of the two is called; later calls do nothing. */
export type Reservation = {
  /** What `count` said before it. */
  readonly count: number;
  /** Its record is on disk: from now on it counts as made at the record's time. */
  readonly keep: (timeMs: number, nowMs: number) => void;
  /** No record came of it. */
  readonly drop: () => void;
};

export type RateWindows = {
  /**
   * @returns the checks of the name after `nowMs − windowMs` and those under way, at most `limit`. Changes no count.
   */
  readonly count: (name: string, nowMs: number) => number;
  readonly reserve: (name: string, nowMs: number) => Reservation;
  /** A check that nobody reserved. @param timeMs when it was made, in any order. */
  readonly record: (name: string, timeMs: number, nowMs: number) => void;
  /** Gives a window up to another table: its times, oldest first. Checks under way end where they began. */
  readonly take: (name: string) => ArrayLike<number> | undefined;
  /**
   * A new model's window and limit. Times already let go are not remembered again: after a widening, counts are low
   * until the wider window has passed.
   */
  readonly reconfigure: (next: RateLimit) => void;
  readonly size: () => number;
};

/** Times of one name, oldest first, in a ring that doubles up to the limit. */
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

/** @returns the index of the first time after `timeMs`; the ring is in order, so a binary search finds it. */
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

/** Puts the newest times into a ring of so many slots. */
const resize = (ring: Ring, slots: number): void => {
  const times = new Float64Array(slots);
  const kept = Math.min(ring.length, slots);
  for (let index = 0; index < kept; index += 1) times[index] = timeAt(ring, ring.length - kept + index);
  ring.times = times;
  ring.start = 0;
  ring.length = kept;
};

/**
 * When the clock steps back, times that now lie ahead become the present: they still count, but no longer than
 * any other, so a clock that was wrong for a moment cannot lock a principal out for as long as it was wrong.
 */
const pullBack = (ring: Ring, nowMs: number): void => {
  for (let index = ring.length - 1; index >= 0 && timeAt(ring, index) > nowMs; index -= 1) {
    setTimeAt(ring, index, nowMs);
  }
};

/** There is room. Checks are recorded nearly in the order of their times: few are passed on the way. */
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
  /** In the order of last activity: a Map keeps the order of insertion. */
  const rings = new Map<string, Ring>();

  const remove = (name: string): void => {
    slotsHeld -= rings.get(name)?.times.length ?? 0;
    rings.delete(name);
  };

  /** The newest in the order of activity; the least recently active leave when there are too many. */
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
      // A known name becomes the most recently active with its record.
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
