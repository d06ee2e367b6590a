/**
 * Verifies signatures of this deployment's keys in the calling thread, for threads that do nothing else. The answer is
 * OpenSSL's: libsodium, which takes half the time, accepts a part of what OpenSSL accepts, so what it refuses is asked
 * of OpenSSL. Where libsodium's binary is missing, OpenSSL alone. Caches one key.
 */
import { verify, type KeyObject } from "node:crypto";
import { equalBytes, type PublicKey } from "@sigil/core/bytes";
import { publicKeyObject } from "./public-key.ts";

export type VerifyHere = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array) => boolean;

const signatureBytes = 64;

export const openVerifier = async (): Promise<VerifyHere> => {
  const sodium = await import("./signing/sodium.ts").catch(() => undefined);
  let last: { readonly publicKey: PublicKey; readonly key: KeyObject } | undefined;
  return (publicKey, message, signature) => {
    if (signature.length !== signatureBytes) return false;
    if (sodium?.verifyWith(publicKey, message, signature) === true) return true;
    if (last === undefined || !equalBytes(last.publicKey, publicKey)) {
      last = { publicKey, key: publicKeyObject(publicKey) };
    }
    return verify(null, message, last.key, signature);
  };
};
