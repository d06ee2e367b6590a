/**
 * ML-DSA-44 verification in JavaScript, FIPS 204 §5.3 with an empty context. Pure. The library is loaded with the first
 * signature, since most readers never meet one; the first verification takes tens of milliseconds, later ones two.
 */
import type { Mldsa44PublicKey, Mldsa44Signature } from "../bytes.ts";

export type VerifyMldsa44 = (
  publicKey: Mldsa44PublicKey,
  message: Uint8Array,
  signature: Mldsa44Signature,
) => Promise<boolean>;

export const verifyMldsa44InScript: VerifyMldsa44 = async (publicKey, message, signature) => {
  const { ml_dsa44: mldsa44 } = await import("@noble/post-quantum/ml-dsa.js");
  return mldsa44.verify(signature, message, publicKey);
};
