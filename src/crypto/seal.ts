/**
 * Records at rest: version u32be ‖ nonce[12] ‖ AES-256-GCM ciphertext ‖ tag[16]. Source: NIST SP 800-38D. The
 * additional data binds the place, so that a sealed value opens only there: with another position, tenant, deployment
 * or key version authentication fails.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";
import { encodeWith, majorArray } from "@sigil/core/cbor";
import { assert, fail } from "../errors.ts";

/** One version of a tenant's data key, as returned by custody. */
export type DataKey = {
  readonly dataKey: KeyObject;
  /** Counts from 1. */
  readonly keyVersion: number;
};

/** Everything that a seal is bound to. */
export type SealPlace = DataKey & {
  readonly origin: string;
  readonly position: bigint;
  readonly tenant: string;
  /** What is sealed: 1 for an envelope, 2 for an envelope and its disclosures, 3 for both condensed. */
  readonly form: 1 | 2 | 3;
};

export const sealNonceBytes = 12;
const versionBytes = 4;
const tagBytes = 16;
const headBytes = versionBytes + sealNonceBytes;
const cipher = "aes-256-gcm";

const placeBytes = ({ origin, position, tenant, keyVersion, form }: SealPlace): Uint8Array =>
  encodeWith((writer) => {
    writer.head(majorArray, 5);
    writer.text(`sigil/seal/v${form}`);
    writer.text(origin);
    writer.value(position);
    writer.text(tenant);
    writer.value(keyVersion);
  });

/**
 * @param nonce 12 bytes, random, never used before with this key. @param prefix prepended to the stored value; not
 * authenticated itself.
 */
export const sealRecord = (
  plaintext: Uint8Array,
  place: SealPlace & { readonly nonce: Uint8Array; readonly prefix?: Uint8Array },
): Uint8Array => {
  assert(place.nonce.length === sealNonceBytes, "a seal's nonce is 12 bytes");
  const sealing = createCipheriv(cipher, place.dataKey, place.nonce);
  sealing.setAAD(placeBytes(place));
  const ciphertext = sealing.update(plaintext);
  sealing.final();
  const start = place.prefix?.length ?? 0;
  const sealed = new Uint8Array(start + headBytes + ciphertext.length + tagBytes);
  if (place.prefix !== undefined) sealed.set(place.prefix, 0);
  new DataView(sealed.buffer).setUint32(start, place.keyVersion);
  sealed.set(place.nonce, start + versionBytes);
  sealed.set(ciphertext, start + headBytes);
  sealed.set(sealing.getAuthTag(), start + headBytes + ciphertext.length);
  return sealed;
};

const refuse = (position: bigint, rule: string, cause?: unknown): never =>
  fail({ kind: "recordCorrupt", position, step: "seal", rule }, { cause });

/**
 * The data key version that a sealed value names. Unauthenticated until it opens. @throws recordCorrupt if truncated.
 */
export const sealedKeyVersion = (sealed: Uint8Array, position: bigint): number => {
  if (sealed.length < headBytes + tagBytes) refuse(position, "the sealed value is cut short");
  return new DataView(sealed.buffer, sealed.byteOffset).getUint32(0);
};

/** @throws recordCorrupt with step "seal" unless exactly this value was sealed for exactly this place. */
export const openRecord = (sealed: Uint8Array, place: SealPlace): Uint8Array => {
  if (sealedKeyVersion(sealed, place.position) !== place.keyVersion) {
    refuse(place.position, "the sealed value names another key version");
  }
  const nonce = sealed.subarray(versionBytes, headBytes);
  const opening = createDecipheriv(cipher, place.dataKey, nonce, { authTagLength: tagBytes });
  opening.setAAD(placeBytes(place));
  opening.setAuthTag(sealed.subarray(-tagBytes));
  const opened = opening.update(sealed.subarray(headBytes, -tagBytes));
  try {
    opening.final();
  } catch (error) {
    opened.fill(0);
    return refuse(place.position, "the sealed value fails its authentication tag", error);
  }
  return new Uint8Array(opened.buffer, opened.byteOffset, opened.length);
};
