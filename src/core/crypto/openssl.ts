/**
 * `#crypto` under Node: SHA-256, Ed25519 and, from OpenSSL 3.5 on, ML-DSA-44 by OpenSSL. Caches at most `verifyKeysMax`
 * parsed keys. The only file of this package that uses Node APIs.
 */
import { createPublicKey, hash, verify as opensslVerify, type KeyObject } from "node:crypto";
import { concatBytes, toHex, type Hash, type Mldsa44PublicKey, type PublicKey } from "../bytes.ts";
import { verifyKeysMax } from "../limits.ts";
import { verifyMldsa44InScript, type VerifyMldsa44 } from "./mldsa44.ts";
import { signatureBytes, verifyStrict, type Verify } from "./strict.ts";

const digestBytes = 32;

export const sha256 = (data: Uint8Array): Hash => {
  // Returned as a binary string: creating a Buffer costs three times the hash.
  const digest = hash("sha256", data, "binary");
  const bytes = new Uint8Array(digestBytes);
  for (let index = 0; index < digestBytes; index += 1) bytes[index] = digest.charCodeAt(index);
  return bytes as Uint8Array as Hash;
};

/** Prefix of an Ed25519 SubjectPublicKeyInfo, before the key. Source: RFC 8410 §4. */
const spkiPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** Parsed keys by hex, in LRU order, the least recently used first. */
const parsedKeys = new Map<string, KeyObject>();

/** The OpenSSL key object, cached: parsing costs about a third of a verification. */
const publicKeyObject = (publicKey: PublicKey): KeyObject => {
  const name = toHex(publicKey);
  const known = parsedKeys.get(name);
  const key =
    known ??
    // Cannot fail: a PublicKey is 32 bytes, and OpenSSL checks the point only on use.
    createPublicKey({ key: Buffer.from(concatBytes(spkiPrefix, publicKey)), format: "der", type: "spki" });
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

/** Runs in the thread pool; returns false on any error. */
const verifyBy = (key: KeyObject, message: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    opensslVerify(null, message, key, signature, (error, verified) => resolve(error === null && verified));
  });

/** For signatures by this deployment's keys. Runs in the thread pool; returns false on any error. */
export const verifyOwn: Verify = (publicKey, message, signature) => {
  if (signature.length !== signatureBytes) return Promise.resolve(false);
  return verifyBy(publicKeyObject(publicKey), message, signature);
};

/** Verifiers that must all accept a foreign signature. OpenSSL first: it is fast and refuses almost every bad one. */
export const foreignVerifiers: readonly Verify[] = [verifyOwn, verifyStrict];

/** Prefix of an ML-DSA-44 SubjectPublicKeyInfo, before the key. Source: RFC 9881 §4. */
const mldsa44SpkiPrefix = Uint8Array.from(
  [0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48].concat([
    0x01, 0x65, 0x03, 0x04, 0x03, 0x11, 0x03, 0x82, 0x05, 0x21, 0x00,
  ]),
);

/** Undefined where OpenSSL does not know the algorithm, as before 3.5: every string of that length is a key. */
const mldsa44KeyObject = (publicKey: Mldsa44PublicKey): KeyObject | undefined => {
  const key = Buffer.from(concatBytes(mldsa44SpkiPrefix, publicKey));
  try {
    return createPublicKey({ key, format: "der", type: "spki" });
  } catch {
    return undefined;
  }
};

/** True only if every implementation at hand accepts: OpenSSL, where it can, and the one in JavaScript. */
export const verifyMldsa44: VerifyMldsa44 = async (publicKey, message, signature) => {
  const key = mldsa44KeyObject(publicKey);
  if (key !== undefined && !(await verifyBy(key, message, signature))) return false;
  return verifyMldsa44InScript(publicKey, message, signature);
};
