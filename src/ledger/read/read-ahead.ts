/**
 * How many records to open side by side. How long a record is shows when it is read, so a walk begins with few and
 * takes twice as many with each step, while the longest of the last ones would fit its bytes as often as that.
 */
import { readAheadBytesMax, readAheadFirst, readAheadRecordsMax } from "../../limits.ts";

export class ReadAhead {
  #records = readAheadFirst;

  /** @param wanted what there is still a use for; none is read in vain. */
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
