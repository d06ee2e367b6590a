/** The program of the signing thread: Ed25519 by libsodium, whose keys lie in memory of its own. */
import { parentPort } from "node:worker_threads";
import sodium from "sodium-native";
import { seedBytes, signatureBytes, type SigningAnswer, type SigningRequest } from "./signing-messages.ts";

const keys = new Map<number, Uint8Array>();

const readKey = (seed: Uint8Array): Uint8Array => {
  if (seed.length !== seedBytes) throw new RangeError("a seed is 32 bytes");
  const publicKey = new Uint8Array(sodium.crypto_sign_PUBLICKEYBYTES);
  // Between guard pages, never swapped out, and left out of core dumps.
  const secretKey = sodium.sodium_malloc(sodium.crypto_sign_SECRETKEYBYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  seed.fill(0);
  return secretKey;
};

const signAll = (secretKey: Uint8Array, lengths: Uint32Array, bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
  const signatures = new Uint8Array(lengths.length * signatureBytes);
  let offset = 0;
  for (const [index, length] of lengths.entries()) {
    const signature = signatures.subarray(index * signatureBytes, (index + 1) * signatureBytes);
    sodium.crypto_sign_detached(signature, bytes.subarray(offset, offset + length), secretKey);
    offset += length;
  }
  return signatures;
};

const answer = (message: SigningAnswer, transferred: readonly ArrayBuffer[] = []): void =>
  parentPort?.postMessage(message, [...transferred]);

parentPort?.on("message", (request: SigningRequest) => {
  if (request.kind === "key") {
    keys.set(request.key, readKey(request.seed));
    return;
  }
  const secretKey = keys.get(request.key);
  if (secretKey === undefined) throw new RangeError("a key is made known before it signs or is forgotten");
  if (request.kind === "forget") {
    sodium.sodium_memzero(secretKey);
    keys.delete(request.key);
    return;
  }
  const signatures = signAll(secretKey, request.lengths, request.bytes);
  answer({ kind: "signed", request: request.request, signatures }, [signatures.buffer]);
});
answer({ kind: "ready" });
