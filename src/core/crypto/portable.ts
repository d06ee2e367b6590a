/**
 * `#crypto` without OpenSSL, as in a browser: SHA-256 and Ed25519 in JavaScript. Pure. Besides the strict
 * implementation the verification equation is implemented directly, so that a foreign signature is accepted here
 * exactly when it is under Node. Source: RFC 8032 §5.1.7; SBS 2020, "Taming the many EdDSAs".
 */
import { Point } from "@noble/ed25519";
import { sha256 as nobleSha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, type Hash, type PublicKey } from "../bytes.ts";
import { verifyMldsa44InScript, type VerifyMldsa44 } from "./mldsa44.ts";
import { signatureBytes, verifyStrict, type Verify } from "./strict.ts";

export const sha256 = (data: Uint8Array): Hash => nobleSha256(data) as Hash;

const pointBytes = 32;
/** Order of the group that the base point generates. */
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

const littleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** Scalar multiplication, also by zero. Not constant-time: nothing here is secret. */
const times = (point: Point, scalar: bigint): Point =>
  scalar === 0n ? Point.ZERO : point.multiply(scalar, false);

/** Checks R = [S]B − [k]A byte for byte; R and A must be canonical and not of small order. */
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

/** Returns false also for input that cannot be parsed. */
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

/** Verifiers that must all accept a foreign signature. */
export const foreignVerifiers: readonly Verify[] = [verifyEquation, verifyStrict];

/** There is one implementation, loaded with the first signature. */
export const verifyMldsa44: VerifyMldsa44 = verifyMldsa44InScript;
