/** The program of the signing thread: Ed25519 by libsodium, with keys in libsodium's guarded memory. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { assert } from "../../errors.ts";
import type { SigningAnswer, SigningRequest } from "./signing-messages.ts";
import { ringMessageBytesMax, SigningRingThread } from "./signing-ring.ts";
import { readSecretKey, signWith, zero } from "./sodium.ts";

const keys = new Map<number, Uint8Array>();

const forgetKey = (key: number): void => {
  const secretKey = keys.get(key);
  if (secretKey !== undefined) zero(secretKey);
  keys.delete(key);
};

const port = parentPort;
assert(port !== null, "this program runs in a thread of its own");

const readPost = (): void => {
  for (;;) {
    const post: { readonly message: SigningRequest } | undefined = receiveMessageOnPort(port);
    if (post === undefined) return;
    const { message: request } = post;
    if (request.kind === "key") keys.set(request.key, readSecretKey(request.seed));
    else forgetKey(request.key);
  }
};

const secretKeyOf = (key: number): Uint8Array => {
  const known = keys.get(key);
  if (known !== undefined) return known;
  // A key is posted before its first message enters the ring.
  readPost();
  const posted = keys.get(key);
  if (posted === undefined) throw new RangeError("a key is made known before it signs");
  return posted;
};

/** Private copy: if a message changed while it is signed, two signatures could reveal the key. */
const ownMessage = new Uint8Array(ringMessageBytesMax);

const sign = (key: number, message: Uint8Array, signature: Uint8Array): void => {
  const secretKey = secretKeyOf(key);
  ownMessage.set(message);
  signature.set(signWith(secretKey, ownMessage.subarray(0, message.length)));
};

const ring = new SigningRingThread(workerData as SharedArrayBuffer);
port.postMessage("ready" satisfies SigningAnswer);
while (!ring.isStopped) {
  ring.signAll(sign, readPost);
  ring.sleep();
}
// Nothing else keeps the thread alive, so it ends.
