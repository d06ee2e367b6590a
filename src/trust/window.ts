/**
 * Sliding rate windows, one a principal: how many checks it made in the last `windowMs`. Pure: the clock comes in as
 * `nowMs`, and replaying (principal, time) in the recorded order gives the same state. Bounded three ways: at most
 * `limit` times a principal, `principalsMax` principals, `eventsMax` times in all; the least recently active principal
 * leaves first.
 */
import { assert } from "../record/errors.ts";
import { rateWindowEventsMax, rateWindowPrincipalsMax } from "../record/limits.ts";

export type RateWindowOptions = {
  readonly windowMs: number;
  /** Checks a window; counts stop there, because more would not change a rate that is already full. */
  readonly limit: number;
  readonly principalsMax?: number;
  readonly eventsMax?: number;
};

export type RateWindows = {
  /** @returns the checks recorded for the principal after `nowMs − windowMs`, at most `limit`. Changes nothing. */
  readonly count: (principal: string, nowMs: number) => number;
  readonly record: (principal: string, nowMs: number) => void;
  /**
   * A new model's window and limit. Times already let go are not remembered again: after a widening, counts are low
   * until the wider window has passed.
   */
  readonly reconfigure: (options: { readonly windowMs: number; readonly limit: number }) => void;
  readonly principalCount: () => number;
};

/** Times of one principal, oldest first, in a ring that doubles up to the limit. */
type Ring = { times: Float64Array; start: number; length: number };

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

const resized = (ring: Ring, slots: number): Ring => {
  const times = new Float64Array(slots);
  const kept = Math.min(ring.length, slots);
  for (let index = 0; index < kept; index += 1) times[index] = timeAt(ring, ring.length - kept + index);
  return { times, start: 0, length: kept };
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

const checkTime = (nowMs: number): void => assert(Number.isFinite(nowMs), "the clock gave no finite time");

const checkOptions = (options: { readonly windowMs: number; readonly limit: number }): void => {
  assert(options.windowMs > 0, "a rate window needs a length");
  assert(Number.isSafeInteger(options.limit) && options.limit > 0, "a rate window needs a limit");
};

export const createRateWindows = (options: RateWindowOptions): RateWindows => {
  checkOptions(options);
  const principalsMax = options.principalsMax ?? rateWindowPrincipalsMax;
  const eventsMax = options.eventsMax ?? rateWindowEventsMax;
  let { windowMs, limit } = options;
  let slotsHeld = 0;
  /** In the order of last activity: a Map keeps the order of insertion. */
  const rings = new Map<string, Ring>();

  const remove = (principal: string): void => {
    slotsHeld -= rings.get(principal)?.times.length ?? 0;
    rings.delete(principal);
  };

  const keep = (principal: string, ring: Ring): void => {
    remove(principal);
    rings.set(principal, ring);
    slotsHeld += ring.times.length;
    for (const oldest of rings.keys()) {
      if (rings.size <= 1 || (rings.size <= principalsMax && slotsHeld <= eventsMax)) break;
      remove(oldest);
    }
  };

  const withRoom = (ring: Ring): Ring => {
    if (ring.length < ring.times.length) return ring;
    if (ring.times.length < limit) return resized(ring, Math.min(limit, ring.times.length * 2));
    dropOldest(ring, 1);
    return ring;
  };

  return {
    count: (principal, nowMs) => {
      checkTime(nowMs);
      const ring = rings.get(principal);
      if (ring === undefined) return 0;
      return Math.min(limit, ring.length - firstAfter(ring, nowMs - windowMs));
    },
    record: (principal, nowMs) => {
      checkTime(nowMs);
      const found = rings.get(principal);
      const ring = found ?? { times: new Float64Array(Math.min(limit, ringSlotsMin)), start: 0, length: 0 };
      pullBack(ring, nowMs);
      dropOldest(ring, firstAfter(ring, nowMs - windowMs));
      const roomy = withRoom(ring);
      setTimeAt(roomy, roomy.length, nowMs);
      roomy.length += 1;
      keep(principal, roomy);
    },
    reconfigure: (next) => {
      checkOptions(next);
      ({ windowMs, limit } = next);
      for (const [principal, ring] of rings) {
        if (ring.times.length <= limit) continue;
        slotsHeld -= ring.times.length - limit;
        rings.set(principal, resized(ring, limit));
      }
    },
    principalCount: () => rings.size,
  };
};
