/**
 * Multiples of a public key's point, by which its scalar multiplication takes 64 additions in place of some 250
 * doublings and 125 additions. Pure; noble's points and their arithmetic. Not constant-time: nothing here is secret.
 * Source: signed windows of fixed width, "Guide to Elliptic Curve Cryptography" §3.3. Bound: 512 points, about 130 KB.
 */
import { Point } from "@noble/ed25519";

const windowBits = 4;
const digits = 2 ** windowBits;
const digitMask = BigInt(digits - 1);
const windowShift = BigInt(windowBits);
/** The digits 1 to 8, and by negation −8 to −1. */
const multiplesMax = digits / 2;
/** A scalar below the group's order has 253 bits, so that nothing is carried out of the last window. */
const windows = 64;

/** The point 1 to 8 times, and 16 times for the next window. */
const multiplesOf = (point: Point): { readonly multiples: readonly Point[]; readonly next: Point } => {
  const multiples = [point];
  let last = point;
  while (multiples.length < multiplesMax) multiples.push((last = last.add(point)));
  return { multiples, next: last.double() };
};

export class KeyTable {
  /** By window. */
  readonly #multiples: readonly (readonly Point[])[];

  private constructor(point: Point) {
    let base = point;
    this.#multiples = Array.from({ length: windows }, () => {
      const { multiples, next } = multiplesOf(base);
      base = next;
      return multiples;
    });
  }

  /** @throws Error for a key that is no canonical point, or one of small order. */
  static of(publicKey: Uint8Array): KeyTable {
    const point = Point.fromBytes(publicKey, false);
    if (point.isSmallOrder()) throw new Error("a key must not be a point of small order");
    return new KeyTable(point);
  }

  /** @param scalar below the group's order. */
  times(scalar: bigint): Point {
    let sum = Point.ZERO;
    let left = scalar;
    for (const multiples of this.#multiples) {
      let digit = Number(left & digitMask);
      left >>= windowShift;
      if (digit > multiplesMax) {
        digit -= digits;
        left += 1n;
      }
      const point = multiples[Math.abs(digit) - 1];
      if (point !== undefined) sum = sum.add(digit < 0 ? point.negate() : point);
    }
    if (left !== 0n) throw new RangeError("a scalar must be below the order of the group");
    return sum;
  }
}
