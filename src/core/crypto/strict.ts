/** Strict RFC 8032 Ed25519 verification in JavaScript: canonical points, no key of small order. Pure. */
import { verifyAsync } from "@noble/ed25519";
import type { PublicKey } from "../bytes.ts";

export type Verify = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

export const signatureBytes = 64;

export const verifyStrict: Verify = async (publicKey, message, signature) =>
  signature.length === signatureBytes &&
  (await verifyAsync(signature, message, publicKey, { zip215: false }));
