/**
 * `#crypto` under Node: SHA-256 and Ed25519 by OpenSSL. Caches at most `verifyKeysMax` parsed keys. The only file of
 * this package that uses Node APIs.
 */
import { createPublicKey, hash, verify as opensslVerify, type KeyObject } from "node:crypto";
import { concatBytes, toHex, type Hash, type PublicKey } from "../bytes.ts";
import { verifyKeysMax } from "../limits.ts";
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

/** For signatures by this deployment's keys. Runs in the thread pool; returns false on any error. */
export const verifyOwn: Verify = (publicKey, message, signature) => {
  if (signature.length !== signatureBytes) return Promise.resolve(false);
  return new Promise((resolve) => {
    opensslVerify(null, message, publicKeyObject(publicKey), signature, (error, verified) =>
      resolve(error === null && verified),
    );
  });
};

/** Verifiers that must all accept a foreign signature. OpenSSL first: it is fast and refuses almost every bad one. */
export const foreignVerifiers: readonly Verify[] = [verifyOwn, verifyStrict];
