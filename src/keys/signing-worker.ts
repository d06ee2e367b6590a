/** The program of the signing thread: Ed25519 by libsodium, whose keys lie in memory of its own. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import sodium from "sodium-native";
import { assert } from "../record/errors.ts";
import { seedBytes, type SigningAnswer, type SigningRequest } from "./signing-messages.ts";
import { ringMessageBytesMax, signatureBytes, SigningRingThread } from "./signing-ring.ts";

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

const forgetKey = (key: number): void => {
  const secretKey = keys.get(key);
  if (secretKey !== undefined) sodium.sodium_memzero(secretKey);
  keys.delete(key);
};

const port = parentPort;
assert(port !== null, "this program runs in a thread of its own");

const readPost = (): void => {
  for (;;) {
    const post: { readonly message: SigningRequest } | undefined = receiveMessageOnPort(port);
    if (post === undefined) return;
    const { message: request } = post;
    if (request.kind === "key") keys.set(request.key, readKey(request.seed));
    else forgetKey(request.key);
  }
};

const secretKeyOf = (key: number): Uint8Array => {
  const known = keys.get(key);
  if (known !== undefined) return known;
  // A key is posted before its first message is put into the ring.
  readPost();
  const posted = keys.get(key);
  if (posted === undefined) throw new RangeError("a key is made known before it signs");
  return posted;
};

/**
 * An Ed25519 signature reads its message twice, and would give the key away if it changed in between: it is signed in
 * memory that nobody else writes.
 */
const ownMessage = new Uint8Array(ringMessageBytesMax);
const ownSignature = new Uint8Array(signatureBytes);

const sign = (key: number, message: Uint8Array, signature: Uint8Array): void => {
  const secretKey = secretKeyOf(key);
  ownMessage.set(message);
  sodium.crypto_sign_detached(ownSignature, ownMessage.subarray(0, message.length), secretKey);
  signature.set(ownSignature);
};

const ring = new SigningRingThread(workerData as SharedArrayBuffer);
port.postMessage("ready" satisfies SigningAnswer);
for (;;) {
  ring.signAll(sign, readPost);
  ring.sleep();
}
