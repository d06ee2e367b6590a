/**
 * `#crypto` where there is no OpenSSL, as in a browser: SHA-256 and Ed25519 in JavaScript. Pure. Beside the strict
 * implementation stands the equation written out, so that a foreign signature is accepted here exactly when it is under
 * Node. Source: RFC 8032 §5.1.7; SBS 2020, "Taming the many EdDSAs".
 */
import { Point } from "@noble/ed25519";
import { sha256 as nobleSha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, type Hash, type PublicKey } from "../bytes.ts";
import { signatureBytes, verifyStrict, type Verify } from "./strict.ts";

export const sha256 = (data: Uint8Array): Hash => nobleSha256(data) as Hash;

const pointBytes = 32;
/** Order of the group that the base point generates. */
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

const littleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** A point times a scalar that may be zero, in time that depends on the scalar: nothing here is secret. */
const times = (point: Point, scalar: bigint): Point =>
  scalar === 0n ? Point.ZERO : point.multiply(scalar, false);

/** R as it must have been, [S]B − [k]A, byte for byte; R and A canonical and neither of small order. */
const equationHolds = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array): boolean => {
  const r = signature.subarray(0, pointBytes);
  const s = littleEndian(signature.subarray(pointBytes));
  if (s >= order) return false;
  const [pointA, pointR] = [Point.fromBytes(publicKey, false), Point.fromBytes(r, false)];
  if (pointA.isSmallOrder() || pointR.isSmallOrder()) return false;
  const k = littleEndian(sha512(concatBytes(r, publicKey, message))) % order;
  const expected = times(Point.BASE, s).add(times(pointA, k).negate());
  return equalBytes(expected.toBytes(), r);
};

/** What cannot be parsed is false, as everything that does not verify. */
export const verifyEquation: Verify = (publicKey, message, signature) => {
  try {
    return Promise.resolve(
      signature.length === signatureBytes && equationHolds(publicKey, message, signature),
    );
  } catch {
    return Promise.resolve(false);
  }
};

/** For signatures made by a deployment's own keys. */
export const verifyOwn: Verify = verifyStrict;

/** Who must accept a foreign signature. */
export const foreignVerifiers: readonly Verify[] = [verifyEquation, verifyStrict];
