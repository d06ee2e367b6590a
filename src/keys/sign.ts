/**
 * Signing with Ed25519 by OpenSSL, in libuv's thread pool: the event loop pays for the hand-over only. The key stays
 * a KeyObject, in memory that JavaScript cannot read.
 */
import { createPublicKey, sign as opensslSign, type KeyObject } from "node:crypto";
import {
  parsePublicKey,
  parseSignature,
  type PublicKey,
  type Signature,
  type Thumbprint,
} from "../record/bytes.ts";
import { coseKeyThumbprint } from "../record/cose.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { opensslSha256 } from "./sha256.ts";

export type Signer = {
  readonly publicKey: PublicKey;
  readonly thumbprint: Thumbprint;
  /** The message is copied before the call returns. @throws keyUnavailable when OpenSSL refuses. */
  readonly sign: (message: Uint8Array) => Promise<Signature>;
};

/** An SPKI document of an Ed25519 key ends with the raw key. Source: RFC 8410 §4. */
const publicKeyBytes = 32;

/** @throws malformedKey unless it is an Ed25519 key. */
export const rawPublicKey = (key: KeyObject): PublicKey => {
  if (key.asymmetricKeyType !== "ed25519") fail({ kind: "malformedKey", rule: "must be an Ed25519 key" });
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ format: "der", type: "spki" });
  return parsePublicKey(spki.subarray(-publicKeyBytes));
};

/** @throws malformedKey unless it is an Ed25519 private key. */
export const createSigner = (privateKey: KeyObject): Signer => {
  if (privateKey.type !== "private") fail({ kind: "malformedKey", rule: "must be a private key" });
  const publicKey = rawPublicKey(privateKey);
  const sign = (message: Uint8Array): Promise<Signature> =>
    new Promise((resolve, reject) => {
      opensslSign(null, message, privateKey, (error, signature) => {
        if (error === null) resolve(parseSignature(signature));
        else
          reject(
            new SigilFault({ kind: "keyUnavailable", rule: "Ed25519 signing failed" }, { cause: error }),
          );
      });
    });
  return { publicKey, thumbprint: coseKeyThumbprint(publicKey, opensslSha256), sign };
};
