/**
 * Times by tag, 16 bytes each for any number of tags: tag and index of the time are packed into one sortable number.
 * Pure. At most 2²¹ times.
 */
import { assert } from "../errors.ts";

export type TimesByTag = {
  /** Call with newest first. @param tag below 2³². */
  readonly add: (tag: number, timeMs: number) => void;
  /** @returns the newest `limit`, oldest first. */
  readonly of: (tag: number, limit: number) => readonly number[];
};

/** A tag takes 32 of the 53 bits of a safe integer. */
const placesMax = 2 ** 21;

export const createTimesByTag = (): TimesByTag => {
  const added: number[] = [];
  const times: number[] = [];
  let sorted = new Float64Array(0);

  const firstPlace = (tag: number): number => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sorted[middle] ?? 0) >= tag * placesMax) high = middle;
      else low = middle + 1;
    }
    return low;
  };

  return {
    add: (tag, timeMs) => {
      assert(times.length < placesMax, "too many times for their places");
      added.push(tag * placesMax + times.length);
      times.push(timeMs);
    },
    of: (tag, limit) => {
      if (sorted.length !== added.length) sorted = Float64Array.from(added).sort();
      const found: number[] = [];
      for (let at = firstPlace(tag); found.length < limit; at += 1) {
        const key = sorted[at];
        if (key === undefined || key >= (tag + 1) * placesMax) break;
        found.push(times[key % placesMax] ?? 0);
      }
      return found.reverse().sort((one, other) => one - other);
    },
  };
};
