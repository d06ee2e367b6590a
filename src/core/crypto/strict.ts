/**
 * Strict RFC 8032 Ed25519 verification in JavaScript: canonical points, neither the key nor R of small order. Pure.
 * Source: docs/spec/record.md §3; SBS 2020, "Taming the many EdDSAs".
 */
import { verifyAsync } from "@noble/ed25519";
import { toHex, type PublicKey } from "../bytes.ts";

export type Verify = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

export const signatureBytes = 64;
const pointBytes = 32;

/** The points whose order divides the cofactor, as they are encoded canonically. */
const smallOrder: ReadonlySet<string> = new Set([
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  "00".repeat(32),
  `${"00".repeat(31)}80`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]);

/** Library and OpenSSL differ on an R of small order, by version: whoever signs never makes one. */
export const verifyStrict: Verify = async (publicKey, message, signature) =>
  signature.length === signatureBytes &&
  !smallOrder.has(toHex(signature.subarray(0, pointBytes))) &&
  (await verifyAsync(signature, message, publicKey, { zip215: false }));
