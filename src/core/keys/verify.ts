/**
 * Verifying Ed25519. Our own signatures by OpenSSL alone; a foreign one (witness, caller's enrolment) counts only when
 * OpenSSL and the strict pure-JavaScript implementation both accept, because they differ on edge cases.
 * Source: RFC 8032 §5.1; SBS 2020, "Taming the many EdDSAs". At most `verifyKeysMax` parsed keys are held.
 */
import { createPublicKey, verify as opensslVerify, type KeyObject } from "node:crypto";
import { Point, verifyAsync as strictVerify } from "@noble/ed25519";
import { concatBytes, parsePublicKey, toHex, type PublicKey } from "../bytes.ts";
import { fail } from "../errors.ts";
import { verifyKeysMax } from "../limits.ts";

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself. Source: RFC 8410 §4. */
const spkiPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** Parsed keys by hex, the least recently used first. */
const parsedKeys = new Map<string, KeyObject>();

/** The key as OpenSSL holds it; parsing costs about a third of a verification. */
export const publicKeyObject = (publicKey: PublicKey): KeyObject => {
  const name = toHex(publicKey);
  const known = parsedKeys.get(name);
  const key =
    known ??
    // A PublicKey is 32 bytes by its brand, and OpenSSL takes any 32 here; points are checked when used.
    createPublicKey({
      key: Buffer.from(concatBytes(spkiPrefix, publicKey)),
      format: "der",
      type: "spki",
    });
  if (known !== undefined) parsedKeys.delete(name);
  parsedKeys.set(name, key);
  if (parsedKeys.size > verifyKeysMax) {
    for (const oldest of parsedKeys.keys()) {
      parsedKeys.delete(oldest);
      break;
    }
  }
  return key;
};

export type Verify = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

const signatureBytes = 64;

/** For signatures made by this deployment's keys. In the thread pool; any failure to verify is false. */
export const verifyOwn: Verify = (publicKey, message, signature) => {
  if (signature.length !== signatureBytes) return Promise.resolve(false);
  return new Promise((resolve) => {
    opensslVerify(null, message, publicKeyObject(publicKey), signature, (error, verified) =>
      resolve(error === null && verified),
    );
  });
};

/** RFC 8032 to the letter, by the pure-JavaScript implementation: canonical points, no key of small order. */
export const verifyStrict: Verify = async (publicKey, message, signature) =>
  signature.length === signatureBytes &&
  (await strictVerify(signature, message, publicKey, { zip215: false }));

/** Who must accept a foreign signature. OpenSSL first: it is fast, and refuses almost everything that is wrong. */
export const foreignVerifiers: readonly Verify[] = [verifyOwn, verifyStrict];

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
