/**
 * A keyed digest over a set of entries that follows each change in constant time: the sum, modulo 2^256, of a keyed
 * hash of every entry. Two different sets have one sum only by chance, for whoever has not the key. A sum that is
 * written down is masked by a keyed hash of its own, so that nobody learns an entry's hash from two sums. Source:
 * Clarke, Devadas, van Dijk, Gassend, Suh, "Incremental Multiset Hash Functions" (2003), MSet-Add-Hash.
 */
import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import { concatBytes, u64be, writeU64be } from "@sigil/core/bytes";
import { assert } from "../../errors.ts";

/** 32 bytes, most significant first. */
export type Sum = Uint8Array;

const sumBytes = 32;

export const emptySum: Sum = new Uint8Array(sumBytes);

export const addSums = (a: Sum, b: Sum): Sum => {
  const sum = new Uint8Array(sumBytes);
  let carry = 0;
  for (let index = sumBytes - 1; index >= 0; index -= 1) {
    carry += (a[index] ?? 0) + (b[index] ?? 0);
    sum[index] = carry;
    carry >>= 8;
  }
  return sum;
};

export const subtractSums = (a: Sum, b: Sum): Sum => {
  const difference = new Uint8Array(sumBytes);
  let borrow = 0;
  for (let index = sumBytes - 1; index >= 0; index -= 1) {
    const value = (a[index] ?? 0) - (b[index] ?? 0) - borrow;
    difference[index] = value;
    borrow = value < 0 ? 1 : 0;
  }
  return difference;
};

/** What each keyed hash is for: one never stands for another. */
const purposes = { element: 1, mask: 2, summary: 3 } as const;

/** The key of one deployment's summary. */
export class SummaryKey {
  readonly #key: KeyObject;

  constructor(secret: Uint8Array) {
    assert(secret.length === sumBytes, "a summary's key has 32 bytes");
    this.#key = createSecretKey(secret);
  }

  /** What an entry of the store adds to the sum of its set. */
  element(key: Uint8Array, value: Uint8Array): Sum {
    const bytes = new Uint8Array(9 + key.length + value.length);
    bytes[0] = purposes.element;
    writeU64be(bytes, 1, BigInt(key.length));
    bytes.set(key, 9);
    bytes.set(value, 9 + key.length);
    return this.#digest(bytes);
  }

  /** What hides the sum of the set that `name` stands for, when it is written down at this size. */
  mask(name: Uint8Array, size: bigint): Sum {
    return this.#digest(concatBytes(Uint8Array.of(purposes.mask), u64be(size), name));
  }

  authenticate(bytes: Uint8Array): Uint8Array {
    return this.#digest(concatBytes(Uint8Array.of(purposes.summary), bytes));
  }

  #digest(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(createHmac("sha256", this.#key).update(bytes).digest());
  }
}
