/**
 * How many records to read concurrently. Record sizes are unknown until read, so a walk starts with few and doubles
 * each step, as long as that many of the longest recent record would fit the byte limit.
 */
import { readAheadBytesMax, readAheadFirst, readAheadRecordsMax } from "../../limits.ts";

export class ReadAhead {
  #records = readAheadFirst;

  /** @param wanted upper bound: records that the caller can still use. */
  next(wanted = readAheadRecordsMax): number {
    return Math.max(1, Math.min(this.#records, wanted));
  }

  /** @param envelopes of the records that were read last. */
  took(envelopes: readonly Uint8Array[]): void {
    if (envelopes.length === 0) return;
    const longest = envelopes.reduce((most, { length }) => Math.max(most, length), 1);
    const fitting = Math.max(1, Math.floor(readAheadBytesMax / longest));
    this.#records = Math.min(this.#records * 2, fitting, readAheadRecordsMax);
  }
}
