/**
 * A keyed multiset hash, updated in constant time per change: the sum, modulo 2^256, of a keyed hash of every entry.
 * Without the key, finding two sets with one sum is infeasible. Stored sums are masked by a further keyed hash, so that
 * the difference of two stored sums does not reveal an entry's hash. Source: Clarke, Devadas, van Dijk, Gassend, Suh,
 * "Incremental Multiset Hash Functions" (2003), MSet-Add-Hash.
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

/** Domain separation of the keyed hashes. */
const purposes = { element: 1, mask: 2, summary: 3 } as const;

/** The key of one deployment's summary. */
export class SummaryKey {
  readonly #key: KeyObject;

  constructor(secret: Uint8Array) {
    assert(secret.length === sumBytes, "a summary's key has 32 bytes");
    this.#key = createSecretKey(secret);
  }

  /** An entry's contribution to the sum of its set. */
  element(key: Uint8Array, value: Uint8Array): Sum {
    const bytes = new Uint8Array(9 + key.length + value.length);
    bytes[0] = purposes.element;
    writeU64be(bytes, 1, BigInt(key.length));
    bytes.set(key, 9);
    bytes.set(value, 9 + key.length);
    return this.#digest(bytes);
  }

  /** The mask for storing the sum of the set `name` at this size. */
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
