/**
 * Decision ids: UUIDv7 (RFC 9562 §5.7), sortable by time and unguessable. Pure: time and randomness are arguments.
 * Within a millisecond a counter that starts at a random value keeps the order; 62 random bits stay.
 */
import { assert } from "../errors.ts";
import { toHex } from "@sigil/core/bytes";

/** @param randomBytes returns fresh random bytes. */
export const createDecisionIds = (
  randomBytes: (bytes: number) => Uint8Array,
): ((nowMs: number) => string) => {
  let lastMs = -1;
  let counter = 0;
  return (nowMs) => {
    assert(Number.isSafeInteger(nowMs) && nowMs >= 0 && nowMs < 2 ** 48, "the clock gave no usable time");
    const bytes = randomBytes(16);
    assert(bytes.length === 16, "randomness gave too few bytes");
    const fresh = (((bytes[6] ?? 0) << 8) | (bytes[7] ?? 0)) & 0x7ff;
    if (nowMs > lastMs) {
      lastMs = nowMs;
      counter = fresh;
    } else {
      counter += 1;
      // On overflow of twelve bits, or after a backward clock step, borrow from the next millisecond.
      if (counter > 0xfff) {
        lastMs += 1;
        counter = fresh;
      }
    }
    const id = new Uint8Array(bytes);
    for (let index = 0, left = lastMs; index < 6; index += 1) {
      id[5 - index] = left % 256;
      left = Math.floor(left / 256);
    }
    id[6] = 0x70 | (counter >> 8);
    id[7] = counter & 0xff;
    id[8] = 0x80 | ((id[8] ?? 0) & 0x3f);
    const hex = toHex(id);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  };
};
