/**
 * `#crypto` under Node: SHA-256 and Ed25519 by OpenSSL. At most `verifyKeysMax` parsed keys are held.
 * The one file of this package that knows Node.
 */
import { createPublicKey, hash, verify as opensslVerify, type KeyObject } from "node:crypto";
import { concatBytes, toHex, type Hash, type PublicKey } from "../bytes.ts";
import { verifyKeysMax } from "../limits.ts";
import { signatureBytes, verifyStrict, type Verify } from "./strict.ts";

const digestBytes = 32;

export const sha256 = (data: Uint8Array): Hash => {
  // A digest as a string of 32 characters: handing a Buffer across costs three times as much as the hash.
  const digest = hash("sha256", data, "binary");
  const bytes = new Uint8Array(digestBytes);
  for (let index = 0; index < digestBytes; index += 1) bytes[index] = digest.charCodeAt(index);
  return bytes as Uint8Array as Hash;
};

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself. Source: RFC 8410 §4. */
const spkiPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** Parsed keys by hex, the least recently used first. */
const parsedKeys = new Map<string, KeyObject>();

/** The key as OpenSSL holds it; parsing costs about a third of a verification. */
const publicKeyObject = (publicKey: PublicKey): KeyObject => {
  const name = toHex(publicKey);
  const known = parsedKeys.get(name);
  const key =
    known ??
    // A PublicKey is 32 bytes by its brand, and OpenSSL takes any 32 here; points are checked when used.
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

/** For signatures made by this deployment's keys. In the thread pool; any failure to verify is false. */
export const verifyOwn: Verify = (publicKey, message, signature) => {
  if (signature.length !== signatureBytes) return Promise.resolve(false);
  return new Promise((resolve) => {
    opensslVerify(null, message, publicKeyObject(publicKey), signature, (error, verified) =>
      resolve(error === null && verified),
    );
  });
};

/** Who must accept a foreign signature. OpenSSL first: it is fast, and refuses almost everything that is wrong. */
export const foreignVerifiers: readonly Verify[] = [verifyOwn, verifyStrict];
