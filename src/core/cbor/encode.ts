/**
 * The encoding half of canonical CBOR. Pure. The output is at most 1 MiB, or as long as its caller says; a cyclic value
 * fails at the depth limit. Fast paths for short ASCII text and small maps, which dominate records.
 */
import { compareBytes, utf8Encode } from "../bytes.ts";
import type { CborMap, CborValue, HeaderMap, HeaderValue } from "./value.ts";
import { fail } from "../errors.ts";
import { halfBits, singleBits } from "./float.ts";
import { cborBytesMax, cborDepthMax, cborEntriesMax } from "../limits.ts";

/** For more units TextEncoder is faster than the loop. */
const loopedTextUnitsMax = 48;
/** For more keys the engine's sort is faster than insertion sort. */
const insertionSortKeysMax = 24;
/**
 * Encodings are allocated consecutively from chunks of this size, and never written again: a separate allocation for
 * each would cost more than the encoding.
 */
const chunkBytes = 64 << 10;
/** A new chunk is allocated if less than this is left. */
const roomBytesMin = 2048;
/** The longest head: one byte and a 64-bit argument. */
const headBytesMax = 9;

const integerMin = -(2n ** 63n);
const integerMax = 2n ** 64n - 1n;

/** Scratch space: a DataView for each float costs more than writing it. */
const double = new DataView(new ArrayBuffer(8));

const isAscii = (text: string): boolean => {
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
};

/** Order of the encodings of two ASCII keys: by length first, which is in the head. */
const compareAsciiKeys = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : 1);

/** Sorts in place where it can. @returns the keys in the order of their encodings. */
export const sortKeys = (keys: string[]): string[] => {
  for (const key of keys) {
    if (!isAscii(key)) {
      // UTF-16 order differs from UTF-8 order above the surrogates, so compare bytes.
      const encoded = keys.map((text) => ({ text, bytes: utf8Encode(text) }));
      encoded.sort((a, b) => a.bytes.length - b.bytes.length || compareBytes(a.bytes, b.bytes));
      return encoded.map(({ text }) => text);
    }
  }
  if (keys.length > insertionSortKeysMax) return keys.sort(compareAsciiKeys);
  for (let index = 1; index < keys.length; index += 1) {
    const key = keys[index] ?? "";
    let slot = index;
    for (; slot > 0; slot -= 1) {
      const before = keys[slot - 1] ?? "";
      if (compareAsciiKeys(before, key) < 0) break;
      keys[slot] = before;
    }
    keys[slot] = key;
  }
  return keys;
};

export class CborWriter {
  readonly #bytesMax: number;
  #buffer = new Uint8Array(0);
  /** Where the output begins in the buffer. */
  #start = 0;
  #isGrown = false;
  #at = 0;
  #depth = 0;
  readonly #path: (string | number)[] = [];

  constructor(bytesMax = cborBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** Begins a new output. @param room buffer to write to from `start` on; replaced by a larger one if too small. */
  begin(room: Uint8Array<ArrayBuffer>, start: number): void {
    this.#buffer = room;
    this.#start = start;
    this.#at = start;
    this.#isGrown = false;
    this.#depth = 0;
  }

  /** The encoded bytes: a subarray of the given room, or a copy if they outgrew it. */
  finish(): Uint8Array {
    if (this.#at - this.#start > this.#bytesMax) this.#refuse(`is longer than ${this.#bytesMax} bytes`);
    return this.#isGrown ? this.#buffer.slice(0, this.#at) : this.#buffer.subarray(this.#start, this.#at);
  }

  /**
   * Begins a map whose entries the caller writes in canonical order, before `endMap`.
   * @param entries how many.
   */
  beginMap(map: CborMap, entries: number): void {
    const prototype: unknown = Object.getPrototypeOf(map);
    if (prototype !== null && prototype !== Object.prototype) {
      this.#refuse("only plain objects, arrays and byte strings have an encoding");
    }
    this.#enter(5, entries);
  }

  /** Writes the key of an entry; its value must follow. */
  key(name: string): void {
    this.#path[this.#depth - 1] = name;
    this.text(name);
  }

  entry(name: string, value: CborValue): void {
    this.key(name);
    this.value(value);
  }

  endMap(): void {
    this.#depth -= 1;
  }

  /** Begins an array whose values the caller writes, each after `item`, before `endArray`. */
  beginArray(values: number): void {
    this.#enter(4, values);
  }

  item(index: number): void {
    this.#path[this.#depth - 1] = index;
  }

  endArray(): void {
    this.#depth -= 1;
  }

  /** A head: major type in the top three bits, argument in its shortest form. `argument` is below 2^53. */
  head(major: number, argument: number): void {
    this.#reserve(headBytesMax);
    const buffer = this.#buffer;
    const type = major << 5;
    if (argument < 24) {
      buffer[this.#at++] = type | argument;
    } else if (argument <= 0xff) {
      buffer[this.#at++] = type | 24;
      buffer[this.#at++] = argument;
    } else if (argument <= 0xffff) {
      buffer[this.#at++] = type | 25;
      buffer[this.#at++] = argument >>> 8;
      buffer[this.#at++] = argument & 0xff;
    } else if (argument <= 0xffff_ffff) {
      buffer[this.#at++] = type | 26;
      this.#uint32(argument);
    } else {
      buffer[this.#at++] = type | 27;
      this.#uint32(Math.floor(argument / 0x1_0000_0000));
      this.#uint32(argument >>> 0);
    }
  }

  bytes(value: Uint8Array): void {
    this.head(2, value.length);
    this.#reserve(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /** Copies bytes that are encoded already. By index: `set` costs more than copying a key. */
  raw(encoded: Uint8Array): void {
    const { length } = encoded;
    this.#reserve(length);
    const buffer = this.#buffer;
    const at = this.#at;
    for (let index = 0; index < length; index += 1) buffer[at + index] = encoded[index] as number;
    this.#at = at + length;
  }

  /** Leaves room that its caller fills after `finish`. */
  skip(bytes: number): void {
    this.#reserve(bytes);
    this.#at += bytes;
  }

  text(value: string): void {
    const units = value.length;
    if (units > loopedTextUnitsMax) return this.#longText(value);
    this.#reserve(units + headBytesMax);
    const buffer = this.#buffer;
    const start = this.#at + (units < 24 ? 1 : 2);
    for (let index = 0; index < units; index += 1) {
      const unit = value.charCodeAt(index);
      if (unit > 0x7f) return this.#longText(value);
      buffer[start + index] = unit;
    }
    if (units < 24) {
      buffer[this.#at] = 0x60 | units;
    } else {
      buffer[this.#at] = 0x78;
      buffer[this.#at + 1] = units;
    }
    this.#at = start + units;
  }

  value(value: CborValue): void {
    switch (typeof value) {
      case "string":
        return this.text(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return this.head(7, value ? 21 : 20);
      case "bigint":
        return this.#bigint(value);
      case "object":
        if (value === null) return this.head(7, 22);
        if (value instanceof Uint8Array) return this.bytes(value);
        if (Array.isArray(value)) return this.#array(value, false);
        return this.#map(value as CborMap);
      case "undefined":
      case "function":
      case "symbol":
        return this.#refuse(`${typeof value} has no encoding`);
    }
  }

  headerValue(value: HeaderValue): void {
    if (value instanceof Map) return this.#headerMap(value);
    if (Array.isArray(value)) return this.#array(value, true);
    if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
      return this.#refuse("must be a Map in a header");
    }
    return this.value(value);
  }

  #array(values: readonly (CborValue | HeaderValue)[], inHeader: boolean): void {
    this.#enter(4, values.length);
    const depth = this.#depth;
    // An index loop, so that holes of a sparse array are seen as undefined and refused.
    for (let index = 0; index < values.length; index += 1) {
      this.#path[depth - 1] = index;
      if (inHeader) this.headerValue(values[index] as HeaderValue);
      else this.value(values[index] as CborValue);
    }
    this.#depth -= 1;
  }

  #map(map: CborMap): void {
    const keys = Object.keys(map);
    this.beginMap(map, keys.length);
    const depth = this.#depth;
    for (const key of sortKeys(keys)) {
      this.#path[depth - 1] = key;
      this.text(key);
      this.value(map[key] as CborValue);
    }
    this.endMap();
  }

  #headerMap(map: HeaderMap): void {
    this.#enter(5, map.size);
    const depth = this.#depth;
    const entries = Array.from(map, ([key, value]) => {
      this.#path[depth - 1] = String(key);
      if (typeof key === "number" && !Number.isSafeInteger(key))
        this.#refuse("key must be an integer or text");
      return { key: String(key), bytes: this.#aside(key), value };
    });
    entries.sort((a, b) => compareBytes(a.bytes, b.bytes));
    for (const [index, entry] of entries.entries()) {
      this.#path[depth - 1] = entry.key;
      const before = entries[index - 1];
      if (before !== undefined && compareBytes(before.bytes, entry.bytes) === 0)
        this.#refuse("key occurs twice");
      this.#reserve(entry.bytes.length);
      this.#buffer.set(entry.bytes, this.#at);
      this.#at += entry.bytes.length;
      this.headerValue(entry.value);
    }
    this.#depth -= 1;
  }

  /** Encodes a key separately, without changing the output. */
  #aside(key: number | bigint | string): Uint8Array {
    const offset = this.#at - this.#start;
    this.value(key);
    // Growing moves the start.
    const start = this.#start + offset;
    const encoded = this.#buffer.slice(start, this.#at);
    this.#at = start;
    return encoded;
  }

  #number(value: number): void {
    // Minus zero is a safe integer and not below zero, so it becomes 0 here.
    if (Number.isSafeInteger(value))
      return value < 0 ? this.head(1, -1 - value) : this.head(0, Math.abs(value));
    if (!Number.isFinite(value)) return this.#refuse("NaN and infinities have no encoding");
    this.#reserve(headBytesMax);
    const half = halfBits(value);
    if (half >= 0) {
      this.#buffer[this.#at++] = 0xf9;
      this.#buffer[this.#at++] = half >>> 8;
      this.#buffer[this.#at++] = half & 0xff;
    } else if (Math.fround(value) === value) {
      this.#buffer[this.#at++] = 0xfa;
      this.#uint32(singleBits(value));
    } else {
      this.#buffer[this.#at++] = 0xfb;
      double.setFloat64(0, value);
      this.#uint32(double.getUint32(0));
      this.#uint32(double.getUint32(4));
    }
  }

  #bigint(value: bigint): void {
    if (value < integerMin || value > integerMax) return this.#refuse("integer is outside -2^63 to 2^64-1");
    const argument = value < 0n ? -1n - value : value;
    const major = value < 0n ? 1 : 0;
    if (argument <= 0xffff_ffffn) return this.head(major, Number(argument));
    this.#reserve(headBytesMax);
    this.#buffer[this.#at++] = (major << 5) | 27;
    this.#uint32(Number(argument >> 32n));
    this.#uint32(Number(argument & 0xffff_ffffn));
  }

  #longText(value: string): void {
    if (value.length > cborBytesMax) return this.#refuse(`is longer than ${cborBytesMax} bytes`);
    if (!value.isWellFormed()) return this.#refuse("text has a lone surrogate");
    const encoded = utf8Encode(value);
    this.head(3, encoded.length);
    this.#reserve(encoded.length);
    this.#buffer.set(encoded, this.#at);
    this.#at += encoded.length;
  }

  #uint32(value: number): void {
    const buffer = this.#buffer;
    buffer[this.#at++] = value >>> 24;
    buffer[this.#at++] = (value >>> 16) & 0xff;
    buffer[this.#at++] = (value >>> 8) & 0xff;
    buffer[this.#at++] = value & 0xff;
  }

  #enter(major: number, entries: number): void {
    if (this.#depth >= cborDepthMax) this.#refuse(`is nested deeper than ${cborDepthMax}`);
    if (entries > cborEntriesMax) this.#refuse(`has more than ${cborEntriesMax} entries`);
    this.head(major, entries);
    this.#depth += 1;
  }

  /** Makes room. `bytes` may exceed what is written by up to a head, hence the slack in the limit. */
  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#buffer.length) this.#grow(bytes);
  }

  #grow(bytes: number): void {
    const written = this.#at - this.#start;
    const needed = written + bytes;
    const bytesMax = this.#bytesMax + headBytesMax;
    if (needed > bytesMax) this.#refuse(`is longer than ${this.#bytesMax} bytes`);
    const grown = new Uint8Array(
      Math.min(bytesMax, Math.max(needed, 2 * (this.#buffer.length - this.#start))),
    );
    grown.set(this.#buffer.subarray(this.#start, this.#at));
    this.#buffer = grown;
    this.#start = 0;
    this.#at = written;
    this.#isGrown = true;
  }

  #refuse(rule: string): never {
    const pointer = this.#path
      .slice(0, this.#depth)
      .map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`)
      .join("");
    return fail({ kind: "unencodableValue", path: pointer, rule });
  }
}

let chunk = new Uint8Array(chunkBytes);
let usedBytes = 0;
const chunkWriter = new CborWriter();
let isWriting = false;

const encodeApart = (writer: CborWriter, write: (writer: CborWriter) => void): Uint8Array => {
  writer.begin(new Uint8Array(512), 0);
  write(writer);
  return writer.finish();
};

/** For files, which may be longer than a canonical value: to a buffer of its own. */
export const encodeLong = (bytesMax: number, write: (writer: CborWriter) => void): Uint8Array =>
  encodeApart(new CborWriter(bytesMax), write);

/** Runs `write` on the rest of the chunk; a nested call (from a getter) gets a separate buffer. */
export const encodeWith = (write: (writer: CborWriter) => void): Uint8Array => {
  if (isWriting) return encodeApart(new CborWriter(), write);
  if (chunk.length - usedBytes < roomBytesMin) {
    chunk = new Uint8Array(chunkBytes);
    usedBytes = 0;
  }
  chunkWriter.begin(chunk, usedBytes);
  isWriting = true;
  try {
    write(chunkWriter);
    const encoded = chunkWriter.finish();
    if (encoded.buffer === chunk.buffer) usedBytes += encoded.length;
    return encoded;
  } finally {
    isWriting = false;
  }
};
