/**
 * Ed25519 signing: in bulk in a worker thread, or singly on the event loop. ML-DSA-44 signing: in libuv's thread pool.
 * The key stays a KeyObject, in memory that JavaScript cannot read; the worker thread has a copy in memory that is
 * neither swapped nor dumped.
 */
import { createPublicKey, sign as opensslSign, type KeyObject } from "node:crypto";
import {
  parseMldsa44PublicKey,
  parseMldsa44Signature,
  parsePublicKey,
  parseSignature,
  type Mldsa44PublicKey,
  type Mldsa44Signature,
  type PublicKey,
  type Signature,
  type Thumbprint,
} from "@sigil/core/bytes";
import { coseKeyThumbprint, mldsa44KeyThumbprint } from "@sigil/core/cose";
import { fail, SigilFault } from "../../errors.ts";
import { forgetInThread, seedOf, signInThread } from "./signing-thread.ts";

type SignerBy<Key, Signed> = {
  readonly publicKey: Key;
  readonly thumbprint: Thumbprint;
  /** The message is copied before the call returns. @throws keyUnavailable if signing fails. */
  readonly sign: (message: Uint8Array) => Promise<Signed>;
  /**
   * Signs on the event loop, in about 25 µs. Absent, or undefined, where that is not possible: use `sign`.
   * @throws keyUnavailable if signing fails.
   */
  readonly signNow?: (message: Uint8Array) => Signed | undefined;
  /** Zeroes the thread's copy of the key, if there is one. */
  readonly forget?: () => void;
};

export type Signer = SignerBy<PublicKey, Signature>;
export type Mldsa44Signer = SignerBy<Mldsa44PublicKey, Mldsa44Signature>;

/** A signer with the role that it serves. */
export type RoleSigner =
  | { readonly role: "record"; readonly signer: Signer }
  | { readonly role: "checkpoint"; readonly signer: Signer }
  | { readonly role: "checkpoint_mldsa44"; readonly signer: Mldsa44Signer };

/** An SPKI document ends with the raw key. Source: RFC 8410 §4, RFC 9881 §4. */
const publicKeyBytes = 32;
const mldsa44KeyBytes = 1312;

const spkiEnd = (key: KeyObject, bytes: number): Uint8Array => {
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ format: "der", type: "spki" });
  return spki.subarray(-bytes);
};

/** @throws malformedKey unless it is an Ed25519 key. */
export const rawPublicKey = (key: KeyObject): PublicKey => {
  if (key.asymmetricKeyType !== "ed25519") fail({ kind: "malformedKey", rule: "must be an Ed25519 key" });
  return parsePublicKey(spkiEnd(key, publicKeyBytes));
};

/** A signature takes a millisecond, now and then ten. @throws malformedKey unless it is an ML-DSA-44 private key. */
export const createMldsa44Signer = (privateKey: KeyObject): Mldsa44Signer => {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ml-dsa-44") {
    fail({ kind: "malformedKey", rule: "must be an ML-DSA-44 private key" });
  }
  const publicKey = parseMldsa44PublicKey(spkiEnd(privateKey, mldsa44KeyBytes));
  const sign = (message: Uint8Array): Promise<Mldsa44Signature> =>
    new Promise((resolve, reject) => {
      opensslSign(null, message.slice(), privateKey, (cause, signature) => {
        if (cause === null) return resolve(parseMldsa44Signature(signature));
        reject(new SigilFault({ kind: "keyUnavailable", rule: "ML-DSA-44 signing failed" }, { cause }));
      });
    });
  return { publicKey, thumbprint: mldsa44KeyThumbprint(publicKey), sign };
};

const signerOf = (privateKey: KeyObject, sign: Signer["sign"]): Signer => {
  if (privateKey.type !== "private") fail({ kind: "malformedKey", rule: "must be a private key" });
  const publicKey = rawPublicKey(privateKey);
  return { publicKey, thumbprint: coseKeyThumbprint(publicKey), sign };
};

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

/** Signs on the event loop by libsodium, with a copy of the key in its guarded memory. */
const onLoop = (privateKey: KeyObject): Required<Pick<Signer, "signNow" | "forget">> => {
  let secretKey: Uint8Array | undefined;
  void loadSodium();
  return {
    signNow: (message) => {
      if (sodium === undefined) return undefined;
      secretKey ??= sodium.readSecretKey(seedOf(privateKey));
      return sodium.signWith(secretKey, message);
    },
    forget: () => {
      if (secretKey !== undefined) sodium?.zero(secretKey);
      secretKey = undefined;
    },
  };
};

/** For bursts of signatures, and for few at once. @throws malformedKey unless it is an Ed25519 private key. */
export const createThreadSigner = (privateKey: KeyObject): Signer => {
  const { signNow, forget } = onLoop(privateKey);
  return {
    ...signerOf(privateKey, (message) => signInThread(privateKey, message)),
    signNow,
    forget: () => {
      forget();
      forgetInThread(privateKey);
    },
  };
};

/**
 * For many signatures on the event loop: libsodium takes half the time of OpenSSL. @throws malformedKey unless it is an
 * Ed25519 private key.
 */
export const createPromptSigner = (privateKey: KeyObject): Signer => {
  const plain = createSigner(privateKey);
  const { signNow, forget } = onLoop(privateKey);
  return { ...plain, sign: async (message) => signNow(message) ?? plain.sign(message), signNow, forget };
};
