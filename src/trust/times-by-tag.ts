/**
 * Times of many tags, 16 bytes each however many tags there are: the tag and the place of the time make one sorted
 * number. Pure. At most 2²¹ times.
 */
import { assert } from "../errors.ts";

export type TimesByTag = {
  /** Newest first. @param tag below 2³². */
  readonly add: (tag: number, timeMs: number) => void;
  /** @returns oldest first; the newest `limit`. */
  readonly of: (tag: number, limit: number) => readonly number[];
};

/** A tag has 32 of the 53 bits of a whole number. */
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
