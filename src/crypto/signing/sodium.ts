/**
 * Ed25519 by libsodium: half of OpenSSL's time, the same bytes. Importing this file throws if the binary is missing.
 * Keys are in libsodium's memory: between guard pages, never swapped, excluded from core dumps.
 */
import sodium from "sodium-native";
import type { Signature } from "@sigil/core/bytes";
import { seedBytes } from "./signing-messages.ts";

/** Free the key with `zero`. The seed is zeroed here. */
export const readSecretKey = (seed: Uint8Array): Uint8Array => {
  if (seed.length !== seedBytes) throw new RangeError("a seed is 32 bytes");
  const publicKey = new Uint8Array(sodium.crypto_sign_PUBLICKEYBYTES);
  const secretKey = sodium.sodium_malloc(sodium.crypto_sign_SECRETKEYBYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  seed.fill(0);
  return secretKey;
};

export const zero = (secretKey: Uint8Array): void => sodium.sodium_memzero(secretKey);

/** The message must not change meanwhile: it is read twice, and a change in between can reveal the key. */
export const signWith = (secretKey: Uint8Array, message: Uint8Array): Signature => {
  const signature = new Uint8Array(sodium.crypto_sign_BYTES);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature as Uint8Array as Signature;
};

/**
 * Whether libsodium accepts. It accepts nothing that OpenSSL refuses: both recompute R and compare its bytes and refuse
 * S ≥ L; besides, libsodium refuses points of small order and encodings that are not canonical.
 */
export const verifyWith = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  signature.length === sodium.crypto_sign_BYTES &&
  sodium.crypto_sign_verify_detached(signature, message, publicKey);
