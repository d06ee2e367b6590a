/**
 * Random bytes of a run. Not granted: a stream that the input alone decides, so that a run repeats. Source:
 * docs/spec/sandbox.md §3.
 */
import { createCipheriv, createHash, randomFillSync } from "node:crypto";

export type GuestRandom = (into: Uint8Array) => void;

export const realRandom: GuestRandom = (into) => {
  // Through bytes of our own: the module's memory is no buffer that Node fills for itself.
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

/**
 * AES-256 in counter mode over zeros, its key from the input's digest. Opened only when it is asked for: most modules
 * never do.
 */
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
