/**
 * Verifying Ed25519. Our own signatures by one implementation; a foreign one (witness, caller's enrolment) counts only when
 * two accept it that differ on edge cases: OpenSSL and strict JavaScript under Node, two of JavaScript elsewhere. Pure.
 * Source: RFC 8032 §5.1; SBS 2020, "Taming the many EdDSAs".
 */
import { Point } from "@noble/ed25519";
import { foreignVerifiers } from "#crypto";
import { parsePublicKey, type PublicKey } from "../bytes.ts";
import type { Verify } from "../crypto/strict.ts";
import { fail } from "../errors.ts";

export { verifyOwn } from "#crypto";
export type { Verify } from "../crypto/strict.ts";

/** For everybody else's signatures: true only when every implementation says so. Costs milliseconds. */
export const verifyForeign = async (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
  verifiers: readonly Verify[] = foreignVerifiers,
): Promise<boolean> => {
  for (const verify of verifiers) {
    if (!(await verify(publicKey, message, signature))) return false;
  }
  return verifiers.length > 0;
};

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

/**
 * A key fit to be enrolled: 32 bytes, canonical (y < p, no negative zero), on the curve, in the prime-order group.
 * A key of small order accepts signatures nobody made; a key with a torsion part makes verifiers disagree.
 * @throws malformedKey naming the rule.
 */
export const checkPublicKey = (raw: Uint8Array): PublicKey => {
  if (raw.length !== 32) fail({ kind: "malformedKey", rule: `must be 32 bytes, got ${raw.length}` });
  const publicKey = parsePublicKey(raw);
  const point = parsePoint(publicKey);
  if (point.isSmallOrder()) fail({ kind: "malformedKey", rule: "must not be a point of small order" });
  if (!point.isTorsionFree()) fail({ kind: "malformedKey", rule: "must lie in the group of prime order" });
  return publicKey;
};
