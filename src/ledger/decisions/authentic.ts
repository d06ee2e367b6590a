/**
 * Authenticates values of the store for the key they are stored under: each is prefixed with a truncated HMAC-SHA256
 * over origin, key and content. A value can neither be changed nor moved to another key.
 */
import { hash, timingSafeEqual } from "node:crypto";
import { concatBytes, utf8Encode } from "@sigil/core/bytes";
import { assert } from "../../errors.ts";

export const macBytes = 16;
/** SHA-256's block size. */
const blockBytes = 64;

const sha256 = (bytes: Uint8Array): Uint8Array => hash("sha256", bytes, "buffer");

/**
 * HMAC implemented from RFC 2104 on plain hashes: for short input, Node's Hmac object costs several times the hashing.
 */
export class ValueSeal {
  readonly #inner: Uint8Array;
  readonly #outer: Uint8Array;

  /** @param key 32 bytes, for values of one tenant. */
  constructor(key: Uint8Array, origin: string) {
    assert(key.length === 32, "the key of a seal has 32 bytes");
    const pad = (byte: number): Uint8Array =>
      Uint8Array.from({ length: blockBytes }, (_, index) => (key[index] ?? 0) ^ byte);
    this.#inner = concatBytes(pad(0x36), utf8Encode(`sigil/index-value/v1\0${origin}\0`));
    this.#outer = pad(0x5c);
  }

  seal(key: Uint8Array, content: Uint8Array): Uint8Array {
    return concatBytes(this.#mac(key, content), content);
  }

  /** @returns the content; undefined if the value was not sealed for this key. */
  open(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
    if (value.length < macBytes) return undefined;
    const content = value.subarray(macBytes);
    return timingSafeEqual(value.subarray(0, macBytes), this.#mac(key, content)) ? content : undefined;
  }

  #mac(key: Uint8Array, content: Uint8Array): Uint8Array {
    // The key's length comes first, since keys differ in length: no two (key, content) pairs hash the same bytes.
    const inner = sha256(concatBytes(this.#inner, Uint8Array.of(key.length >> 8, key.length), key, content));
    return sha256(concatBytes(this.#outer, inner)).subarray(0, macBytes);
  }
}
