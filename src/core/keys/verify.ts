/**
 * Ed25519 verification. Own signatures use one implementation; a foreign one (witness, caller's enrolment) is accepted
 * only by two that differ on edge cases: OpenSSL and strict JavaScript under Node, two JavaScript ones elsewhere. Pure.
 * Accepted signatures are cached by digest, so that the same bytes are not verified with each read of a record: at most
 * `acceptedSignaturesMax` signatures and `verifyKeysMax` keys. Refusals are not cached. Source: RFC 8032 §5.1; SBS
 * 2020, "Taming the many EdDSAs".
 */
import { Point } from "@noble/ed25519";
import { foreignVerifiers, sha256, verifyOwn as verifyOwnAnew } from "#crypto";
import { concatBytes, parsePublicKey, type PublicKey } from "../bytes.ts";
import { signatureBytes, type Verify } from "../crypto/strict.ts";
import { fail } from "../errors.ts";
import { acceptedSignaturesMax, verifyKeysMax } from "../limits.ts";

export type { Verify } from "../crypto/strict.ts";

/** One character per byte: a hexadecimal string built by concatenation stays a two-kilobyte rope until it is read. */
const nameOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const remember = (accepted: Set<string>, name: string, namesMax: number): void => {
  if (accepted.size >= namesMax) accepted.clear();
  accepted.add(name);
};

const keyBytes = 32;

/** Caches a verifier's positive answers, keyed by the SHA-256 of key, signature and message. */
export const remembering = (verify: Verify): Verify => {
  const accepted = new Set<string>();
  return async (publicKey, message, signature) => {
    if (signature.length !== signatureBytes) return false;
    // A copy, so that the cached digest is of the bytes verified even if the caller changes them meanwhile.
    const all = concatBytes(publicKey, signature, message);
    const name = nameOf(sha256(all));
    if (accepted.has(name)) return true;
    const [signed, copied] = [
      all.subarray(keyBytes + signatureBytes),
      all.subarray(keyBytes, keyBytes + signatureBytes),
    ];
    const verified = await verify(parsePublicKey(all.subarray(0, keyBytes)), signed, copied);
    if (verified) remember(accepted, name, acceptedSignaturesMax);
    return verified;
  };
};

/** For signatures made by this deployment's keys. */
export const verifyOwn: Verify = remembering(verifyOwnAnew);

/** The same for what is read once, as in a replay: caching each of its signatures costs as much as verifying it. */
export const verifyOwnOnce: Verify = verifyOwnAnew;

/** True only if every implementation accepts. */
export const verifyByAll =
  (verifiers: readonly Verify[]): Verify =>
  async (publicKey, message, signature) => {
    for (const verify of verifiers) {
      if (!(await verify(publicKey, message, signature))) return false;
    }
    return verifiers.length > 0;
  };

/** For foreign signatures. Takes milliseconds. */
export const verifyForeign: Verify = remembering(verifyByAll(foreignVerifiers));

const parsePoint = (raw: PublicKey): Point => {
  try {
    return Point.fromBytes(raw, false);
  } catch (error) {
    return fail(
      { kind: "malformedKey", rule: "must be the canonical encoding of a point on Ed25519" },
      { cause: error },
    );
  }
};

const fitKeys = new Set<string>();

/**
 * A key that may be enrolled: 32 bytes, canonical (y < p, no negative zero), on the curve, in the prime-order group. A
 * small-order key accepts forged signatures; a torsion component makes verifiers disagree.
 * @throws malformedKey naming the rule.
 */
export const checkPublicKey = (raw: Uint8Array): PublicKey => {
  if (raw.length !== keyBytes) fail({ kind: "malformedKey", rule: `must be 32 bytes, got ${raw.length}` });
  const publicKey = parsePublicKey(raw);
  const name = nameOf(publicKey);
  if (fitKeys.has(name)) return publicKey;
  const point = parsePoint(publicKey);
  if (point.isSmallOrder()) fail({ kind: "malformedKey", rule: "must not be a point of small order" });
  if (!point.isTorsionFree()) fail({ kind: "malformedKey", rule: "must lie in the group of prime order" });
  remember(fitKeys, name, verifyKeysMax);
  return publicKey;
};
