/**
 * Keys at rest: nonce[12] ‖ AES-256-GCM ciphertext ‖ tag[16] under the key-encryption key. Source: NIST SP 800-38D.
 * The additional data is canonical CBOR `["sigil/wrap/v1", purpose]`, so a wrapped key serves one purpose only.
 * The bytes are the same whoever works the cipher: a key held here, or a token that never gives its key away.
 */
import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from "node:crypto";
import { cborEncode } from "../record/cbor.ts";
import { fail } from "../record/errors.ts";

/** A key-encryption key. */
export type Kek = {
  /** @param purpose what the key is for, e.g. `signing/record/1` or `data/acme/3`. The secret stays the caller's to zero. */
  readonly wrap: (purpose: string, secret: Uint8Array) => Promise<Uint8Array>;
  /** @returns the secret; the caller zeroes it. @throws keyUnavailable unless wrapped by this key for this purpose. */
  readonly unwrap: (purpose: string, wrapped: Uint8Array) => Promise<Uint8Array>;
};

const cipher = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

const purposeBytes = (purpose: string): Uint8Array => cborEncode(["sigil/wrap/v1", purpose]);

const wrapKey = (kek: KeyObject, purpose: string, secret: Uint8Array): Uint8Array => {
  const nonce = randomBytes(nonceBytes);
  const wrapping = createCipheriv(cipher, kek, nonce);
  wrapping.setAAD(purposeBytes(purpose));
  const ciphertext = wrapping.update(secret);
  wrapping.final();
  return Uint8Array.from(Buffer.concat([nonce, ciphertext, wrapping.getAuthTag()]));
};

const unwrapKey = (kek: KeyObject, purpose: string, wrapped: Uint8Array): Uint8Array => {
  if (wrapped.length <= nonceBytes + tagBytes) {
    fail({ kind: "keyUnavailable", rule: `the wrapped key for ${purpose} is cut short` });
  }
  const unwrapping = createDecipheriv(cipher, kek, wrapped.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  unwrapping.setAAD(purposeBytes(purpose));
  unwrapping.setAuthTag(wrapped.subarray(-tagBytes));
  const secret = unwrapping.update(wrapped.subarray(nonceBytes, -tagBytes));
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

/** A key that this process holds, inside OpenSSL. */
export const localKek = (key: KeyObject): Kek => ({
  wrap: async (purpose, secret) => wrapKey(key, purpose, secret),
  unwrap: async (purpose, wrapped) => unwrapKey(key, purpose, wrapped),
});
