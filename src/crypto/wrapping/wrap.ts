/**
 * Keys at rest: nonce[12] ‖ AES-256-GCM ciphertext ‖ tag[16] under the key-encryption key. Source: NIST SP 800-38D. The
 * additional data is canonical CBOR `["sigil/wrap/v1", purpose]`, so a wrapped key serves one purpose only. The format
 * is the same for a key in this process and for one on a token.
 */
import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from "node:crypto";
import { concatBytes } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { fail } from "../../errors.ts";

/** A key-encryption key. */
export type Kek = {
  /** @param purpose what the key is for, e.g. `signing/record/1` or `data/acme/3`. The caller zeroes the secret. */
  readonly wrap: (purpose: string, secret: Uint8Array) => Promise<Uint8Array>;
  /** @returns the secret; the caller zeroes it. @throws keyUnavailable unless wrapped by this key for this purpose. */
  readonly unwrap: (purpose: string, wrapped: Uint8Array) => Promise<Uint8Array>;
};

const cipher = "aes-256-gcm";
export const nonceBytes = 12;
export const tagBytes = 16;

/** The additional data. */
export const purposeBytes = (purpose: string): Uint8Array => cborEncode(["sigil/wrap/v1", purpose]);

/** @param sealed ciphertext and tag. */
export const formatWrapped = (nonce: Uint8Array, sealed: Uint8Array): Uint8Array =>
  concatBytes(nonce, sealed);

/** @throws keyUnavailable if it is too short. */
export const parseWrapped = (
  purpose: string,
  wrapped: Uint8Array,
): { readonly nonce: Uint8Array; readonly sealed: Uint8Array } => {
  if (wrapped.length <= nonceBytes + tagBytes) {
    fail({ kind: "keyUnavailable", rule: `the wrapped key for ${purpose} is cut short` });
  }
  return { nonce: wrapped.subarray(0, nonceBytes), sealed: wrapped.subarray(nonceBytes) };
};

const wrapKey = (kek: KeyObject, purpose: string, secret: Uint8Array): Uint8Array => {
  const nonce = randomBytes(nonceBytes);
  const wrapping = createCipheriv(cipher, kek, nonce);
  wrapping.setAAD(purposeBytes(purpose));
  const ciphertext = wrapping.update(secret);
  wrapping.final();
  return formatWrapped(nonce, concatBytes(ciphertext, wrapping.getAuthTag()));
};

const unwrapKey = (kek: KeyObject, purpose: string, wrapped: Uint8Array): Uint8Array => {
  const { nonce, sealed } = parseWrapped(purpose, wrapped);
  const unwrapping = createDecipheriv(cipher, kek, nonce, { authTagLength: tagBytes });
  unwrapping.setAAD(purposeBytes(purpose));
  unwrapping.setAuthTag(sealed.subarray(-tagBytes));
  const secret = unwrapping.update(sealed.subarray(0, -tagBytes));
  try {
    unwrapping.final();
  } catch (error) {
    secret.fill(0);
    fail(
      { kind: "keyUnavailable", rule: `the wrapped key for ${purpose} fails its authentication tag` },
      { cause: error },
    );
  }
  return new Uint8Array(secret.buffer, secret.byteOffset, secret.length);
};

/** A key in this process, held by OpenSSL. */
export const localKek = (key: KeyObject): Kek => ({
  wrap: async (purpose, secret) => wrapKey(key, purpose, secret),
  unwrap: async (purpose, wrapped) => unwrapKey(key, purpose, wrapped),
});
