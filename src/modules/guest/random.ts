/**
 * Random bytes of a run. Without the capability: a stream derived from the input, so that a run is reproducible.
 * Source: docs/spec/sandbox.md §3.
 */
import { createCipheriv, createHash, randomFillSync } from "node:crypto";

export type GuestRandom = (into: Uint8Array) => void;

export const realRandom: GuestRandom = (into) => {
  // Filled via our own buffer: Node cannot fill the module's memory directly.
  const block = 64 << 10;
  for (let at = 0; at < into.length; at += block) {
    const bytes = Math.min(block, into.length - at);
    into.set(randomFillSync(new Uint8Array(bytes)), at);
  }
};

const label = "sigil/module/random/v1\0";

const openStream = (input: Uint8Array) => {
  const digest = createHash("sha256").update(input).digest();
  const key = createHash("sha256").update(label).update(digest).digest();
  return createCipheriv("aes-256-ctr", key, new Uint8Array(16));
};

/** AES-256-CTR keystream, keyed by the input's digest. Created on first use, since most modules need none. */
export const seededRandom = (input: Uint8Array): GuestRandom => {
  let stream: ReturnType<typeof openStream> | null = null;
  const block = 64 << 10;
  return (into) => {
    stream ??= openStream(input);
    for (let at = 0; at < into.length; at += block) {
      into.set(stream.update(new Uint8Array(Math.min(block, into.length - at))), at);
    }
  };
};
