/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012), truncated to the low 32 bits. Incremental: the hash of the bytes so far
 * can be read at any byte, so that a text and all its prefixes cost one pass. Pure.
 */
import { assert } from "../../errors.ts";

/** Words of the state: v0 to v3, each its low half first. */
const stateWords = 8;

/**
 * One round over `v`. 64-bit words are kept as halves, since bigints cost twenty times as much; destructuring is
 * avoided, since it creates an iterator.
 */
const round = (v: Int32Array): void => {
  let a0 = v[0] as number;
  let a1 = v[1] as number;
  let b0 = v[2] as number;
  let b1 = v[3] as number;
  let c0 = v[4] as number;
  let c1 = v[5] as number;
  let d0 = v[6] as number;
  let d1 = v[7] as number;
  let low = (a0 + b0) | 0;
  a1 = (a1 + b1 + (low >>> 0 < a0 >>> 0 ? 1 : 0)) | 0;
  a0 = low;
  let turned = (b1 << 13) | (b0 >>> 19);
  b0 = ((b0 << 13) | (b1 >>> 19)) ^ a0;
  b1 = turned ^ a1;
  const half = a0;
  a0 = a1;
  a1 = half;
  low = (c0 + d0) | 0;
  c1 = (c1 + d1 + (low >>> 0 < c0 >>> 0 ? 1 : 0)) | 0;
  c0 = low;
  turned = (d1 << 16) | (d0 >>> 16);
  d0 = ((d0 << 16) | (d1 >>> 16)) ^ c0;
  d1 = turned ^ c1;
  low = (a0 + d0) | 0;
  a1 = (a1 + d1 + (low >>> 0 < a0 >>> 0 ? 1 : 0)) | 0;
  a0 = low;
  turned = (d1 << 21) | (d0 >>> 11);
  d0 = ((d0 << 21) | (d1 >>> 11)) ^ a0;
  d1 = turned ^ a1;
  low = (c0 + b0) | 0;
  c1 = (c1 + b1 + (low >>> 0 < c0 >>> 0 ? 1 : 0)) | 0;
  c0 = low;
  turned = (b1 << 17) | (b0 >>> 15);
  b0 = ((b0 << 17) | (b1 >>> 15)) ^ c0;
  b1 = turned ^ c1;
  v[0] = a0;
  v[1] = a1;
  v[2] = b0;
  v[3] = b1;
  v[4] = c1;
  v[5] = c0;
  v[6] = d0;
  v[7] = d1;
};

/** Absorbs a block of eight bytes into `v`, low half first. */
const compress = (v: Int32Array, low: number, high: number): void => {
  v[6] = (v[6] as number) ^ low;
  v[7] = (v[7] as number) ^ high;
  round(v);
  round(v);
  v[0] = (v[0] as number) ^ low;
  v[1] = (v[1] as number) ^ high;
};

/** "somepseudorandomlygeneratedbytes", the constants of SipHash, as halves. */
const constants = [
  0x70736575, 0x736f6d65, 0x6e646f6d, 0x646f7261, 0x6e657261, 0x6c796765, 0x79746573, 0x74656462,
] as const;

export class SipHash {
  readonly #start: Int32Array;
  readonly #state = new Int32Array(stateWords);
  readonly #end = new Int32Array(stateWords);
  #low = 0;
  #high = 0;
  #bytes = 0;

  /** @param key 16 bytes. */
  constructor(key: Uint8Array) {
    assert(key.length === 16, "a SipHash key has 16 bytes");
    const words = new DataView(key.buffer, key.byteOffset, key.byteLength);
    const keyWords = [0, 4, 8, 12].map((offset) => words.getInt32(offset, true));
    this.#start = Int32Array.from(constants, (constant, index) => constant ^ (keyWords[index % 4] ?? 0));
    this.begin();
  }

  begin(): void {
    this.#state.set(this.#start);
    this.#low = 0;
    this.#high = 0;
    this.#bytes = 0;
  }

  add(byte: number): void {
    const place = this.#bytes & 7;
    if (place < 4) this.#low |= byte << (8 * place);
    else this.#high |= byte << (8 * (place - 4));
    this.#bytes += 1;
    if (place !== 7) return;
    compress(this.#state, this.#low, this.#high);
    this.#low = 0;
    this.#high = 0;
  }

  /** The hash of the bytes added since `begin`; more may be added afterwards. @returns 0 to 2^32 − 1. */
  low32(): number {
    const v = this.#end;
    v.set(this.#state);
    compress(v, this.#low, this.#high | ((this.#bytes & 0xff) << 24));
    v[4] = (v[4] as number) ^ 0xff;
    for (let times = 0; times < 4; times += 1) round(v);
    return ((v[0] as number) ^ (v[2] as number) ^ v[4] ^ (v[6] as number)) >>> 0;
  }
}
