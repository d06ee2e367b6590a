/**
 * Ed25519 signing: in bulk in a worker thread, or singly on the event loop. The key stays a KeyObject, in memory that
 * JavaScript cannot read; the thread has a copy in memory that is neither swapped nor dumped.
 */
import { createPublicKey, sign as opensslSign, type KeyObject } from "node:crypto";
import {
  parsePublicKey,
  parseSignature,
  type PublicKey,
  type Signature,
  type Thumbprint,
} from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../../errors.ts";
import { forgetInThread, seedOf, signInThread } from "./signing-thread.ts";

export type Signer = {
  readonly publicKey: PublicKey;
  readonly thumbprint: Thumbprint;
  /** The message is copied before the call returns. @throws keyUnavailable if signing fails. */
  readonly sign: (message: Uint8Array) => Promise<Signature>;
  /** Zeroes the thread's copy of the key, if there is one. */
  readonly forget?: () => void;
};

/** An SPKI document of an Ed25519 key ends with the raw key. Source: RFC 8410 §4. */
const publicKeyBytes = 32;

/** @throws malformedKey unless it is an Ed25519 key. */
export const rawPublicKey = (key: KeyObject): PublicKey => {
  if (key.asymmetricKeyType !== "ed25519") fail({ kind: "malformedKey", rule: "must be an Ed25519 key" });
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ format: "der", type: "spki" });
  return parsePublicKey(spki.subarray(-publicKeyBytes));
};

const signerOf = (privateKey: KeyObject, sign: Signer["sign"]): Signer => {
  if (privateKey.type !== "private") fail({ kind: "malformedKey", rule: "must be a private key" });
  const publicKey = rawPublicKey(privateKey);
  return { publicKey, thumbprint: coseKeyThumbprint(publicKey), sign };
};

/** For bursts of signatures. @throws malformedKey unless it is an Ed25519 private key. */
export const createThreadSigner = (privateKey: KeyObject): Signer => ({
  ...signerOf(privateKey, (message) => signInThread(privateKey, message)),
  forget: () => forgetInThread(privateKey),
});

/**
 * For occasional signatures, synchronously on the event loop. @throws malformedKey unless it is an Ed25519 private key.
 */
export const createSigner = (privateKey: KeyObject): Signer =>
  signerOf(privateKey, async (message) => {
    try {
      return parseSignature(opensslSign(null, message, privateKey));
    } catch (cause) {
      return fail({ kind: "keyUnavailable", rule: "Ed25519 signing failed" }, { cause });
    }
  });

let sodium: typeof import("./sodium.ts") | undefined;

/** OpenSSL signs until libsodium is loaded, and if it is missing. */
const loadSodium = async (): Promise<void> => {
  sodium ??= await import("./sodium.ts").catch(() => undefined);
};

/**
 * For many signatures on the event loop: libsodium takes half the time of OpenSSL. @throws malformedKey unless it is an
 * Ed25519 private key.
 */
export const createPromptSigner = (privateKey: KeyObject): Signer => {
  const plain = createSigner(privateKey);
  let secretKey: Uint8Array | undefined;
  void loadSodium();
  return {
    ...plain,
    sign: async (message) => {
      if (sodium === undefined) return plain.sign(message);
      secretKey ??= sodium.readSecretKey(seedOf(privateKey));
      return sodium.signWith(secretKey, message);
    },
    forget: () => {
      if (secretKey !== undefined) sodium?.zero(secretKey);
      secretKey = undefined;
    },
  };
};
