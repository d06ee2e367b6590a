/**
 * The decoding half of canonical CBOR. Pure. Every error is malformedCbor with the offset of the offending item and one
 * of `cborRules`. A length is checked against the remaining input before anything is allocated for it.
 */
import { utf8Decode } from "../bytes.ts";
import type { CborValue, HeaderValue } from "./value.ts";
import { fail } from "../errors.ts";
import { halfBits, halfValue } from "./float.ts";
import { cborBytesMax, cborDepthMax, cborEntriesMax } from "../limits.ts";

/** Why bytes are refused. Each refusing vector names one of these. */
export const cborRules = {
  truncated: "input ends inside the item",
  trailing: "bytes follow the value",
  tooLong: `input is longer than ${cborBytesMax} bytes`,
  tooDeep: `nested deeper than ${cborDepthMax}`,
  tooMany: `more than ${cborEntriesMax} entries`,
  reserved: "additional information 28 to 30 is reserved",
  indefinite: "indefinite length is not canonical",
  notShortest: "integer or length is not in its shortest form",
  belowRange: "integer is below -2^63",
  tag: "tags are outside the profile",
  simple: "only false, true and null are simple values of the profile",
  notFinite: "NaN and infinities are outside the profile",
  integralFloat: "an integral value within 2^53-1 must be an integer",
  longFloat: "float is not in its shortest form",
  utf8: "text is not UTF-8",
  keyType: "map key has the wrong type",
  keyOrder: "map keys are out of order",
  keyTwice: "map key occurs twice",
} as const;

type Item = CborValue | HeaderValue | readonly Item[];
type KeyRule = "textKeys" | "headerKeys";

/** For more bytes TextDecoder is faster than joining characters. */
const joinedTextBytesMax = 24;

/** Cache of short keys by a hash of their bytes, so that repeated keys reuse one string. */
const knownKeySlots = 1024;
const knownKeyBytesMax = 32;
const knownKeys: (string | undefined)[] = Array.from({ length: knownKeySlots }, () => undefined);

const isText = (text: string, bytes: Uint8Array, start: number): boolean => {
  for (let index = 0; index < text.length; index += 1) {
    if (text.charCodeAt(index) !== bytes[start + index]) return false;
  }
  return true;
};

/** Exactly a Uint8Array, so that `slice` copies (a Buffer's does not). */
const plain = (bytes: Uint8Array): Uint8Array =>
  Object.getPrototypeOf(bytes) === Uint8Array.prototype
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export class CborReader {
  readonly #bytes: Uint8Array;
  readonly #keys: KeyRule;
  readonly #end: number;
  #at: number;
  #depth = 0;
  /** The high and low halves of the last 64-bit argument. */
  #high = 0;
  #low = 0;

  /** Reads `bytes` from `start` to `end`; offsets in errors count from the start of `bytes`. */
  constructor(bytes: Uint8Array, keys: KeyRule, start = 0, end = bytes.length, bytesMax = cborBytesMax) {
    this.#bytes = plain(bytes);
    this.#keys = keys;
    this.#at = start;
    this.#end = end;
    if (end - start > bytesMax) {
      this.#refuse(
        start,
        bytesMax === cborBytesMax ? cborRules.tooLong : `input is longer than ${bytesMax} bytes`,
      );
    }
  }

  get offset(): number {
    return this.#at;
  }

  /** Reads one value and requires the end of input. */
  only(): Item {
    const value = this.value();
    this.done();
    return value;
  }

  done(): void {
    if (this.#at !== this.#end) this.#refuse(this.#at, cborRules.trailing);
  }

  /** Consumes the next byte if it is `expected`. @returns whether it was. */
  take(expected: number): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at] !== expected) return false;
    this.#at += 1;
    return true;
  }

  /** Reads a byte string as its range in the input; null if the next item is something else. */
  byteRange(): { readonly start: number; readonly end: number } | null {
    const start = this.#at;
    if (start >= this.#end) return this.#refuse(start, cborRules.truncated);
    const initial = this.#bytes[start] ?? 0;
    if (initial >>> 5 !== 2) return null;
    this.#at += 1;
    const length = this.#length(start, initial & 31);
    this.#at += length;
    return { start: this.#at - length, end: this.#at };
  }

  value(): Item {
    const start = this.#at;
    if (start >= this.#end) this.#refuse(start, cborRules.truncated);
    const initial = this.#bytes[start] ?? 0;
    this.#at = start + 1;
    const info = initial & 31;
    switch (initial >>> 5) {
      case 0:
        return info < 24 ? info : this.#unsigned(start, info);
      case 1:
        return info < 24 ? -1 - info : this.#negative(start, info);
      case 2: {
        const length = this.#length(start, info);
        this.#at += length;
        return this.#bytes.slice(this.#at - length, this.#at);
      }
      case 3:
        return this.#text(start, info);
      case 4:
        return this.#array(start, info);
      case 5:
        return this.#keys === "textKeys" ? this.#map(start, info) : this.#headerMap(start, info);
      case 6:
        return this.#refuse(start, cborRules.tag);
      default:
        return this.#simple(start, info);
    }
  }

  #unsigned(start: number, info: number): number | bigint {
    const argument = this.#argument(start, info);
    return argument >= 0 ? argument : (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  #negative(start: number, info: number): number | bigint {
    const argument = this.#argument(start, info);
    if (argument >= 0 && argument < Number.MAX_SAFE_INTEGER) return -1 - argument;
    if (this.#high > 0x7fff_ffff) this.#refuse(start, cborRules.belowRange);
    return -1n - ((BigInt(this.#high) << 32n) | BigInt(this.#low));
  }

  /** The argument after the head, or -1 when it exceeds 2^53-1 and only the halves hold it. */
  #argument(start: number, info: number): number {
    if (info < 24) return info;
    if (info > 27) return this.#refuse(start, info === 31 ? cborRules.indefinite : cborRules.reserved);
    const bytes = this.#bytes;
    const at = this.#at;
    const width = 1 << (info - 24);
    if (width > this.#end - at) this.#refuse(start, cborRules.truncated);
    this.#at = at + width;
    if (width === 1) {
      const argument = bytes[at] ?? 0;
      return argument < 24 ? this.#refuse(start, cborRules.notShortest) : argument;
    }
    if (width === 2) {
      const argument = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      return argument <= 0xff ? this.#refuse(start, cborRules.notShortest) : argument;
    }
    const first = this.#uint32(at);
    if (width === 4) return first <= 0xffff ? this.#refuse(start, cborRules.notShortest) : first;
    if (first === 0) this.#refuse(start, cborRules.notShortest);
    this.#high = first;
    this.#low = this.#uint32(at + 4);
    return first <= 0x1f_ffff ? first * 0x1_0000_0000 + this.#low : -1;
  }

  #uint32(at: number): number {
    const bytes = this.#bytes;
    const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    return high * 0x1_0000 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0));
  }

  /** Reads a string's length; the input is known to hold that many bytes. */
  #length(start: number, info: number): number {
    const length = this.#argument(start, info);
    if (length < 0 || length > this.#end - this.#at) this.#refuse(start, cborRules.truncated);
    return length;
  }

  #text(start: number, info: number): string {
    const length = this.#length(start, info);
    const from = this.#at;
    this.#at += length;
    if (length <= joinedTextBytesMax) {
      const text = this.#ascii(from, this.#at);
      if (text !== null) return text;
    }
    return this.#utf8(start, from);
  }

  #utf8(start: number, from: number): string {
    try {
      return utf8Decode(this.#bytes.subarray(from, this.#at));
    } catch {
      return this.#refuse(start, cborRules.utf8);
    }
  }

  #ascii(from: number, to: number): string | null {
    const b = this.#bytes;
    for (let at = from; at < to; at += 1) if ((b[at] ?? 0) > 0x7f) return null;
    let text = "";
    let at = from;
    for (; at + 4 <= to; at += 4) {
      text += String.fromCharCode(b[at] ?? 0, b[at + 1] ?? 0, b[at + 2] ?? 0, b[at + 3] ?? 0);
    }
    for (; at < to; at += 1) text += String.fromCharCode(b[at] ?? 0);
    return text;
  }

  #textKey(start: number): string {
    const initial =
      this.#at < this.#end ? (this.#bytes[this.#at] ?? 0) : this.#refuse(start, cborRules.truncated);
    if (initial >>> 5 !== 3) this.#refuse(start, cborRules.keyType);
    this.#at += 1;
    const info = initial & 31;
    const length = this.#length(start, info);
    const from = this.#at;
    if (length === 0 || length > knownKeyBytesMax) {
      this.#at += length;
      return this.#utf8(start, from);
    }
    const bytes = this.#bytes;
    let hash = length;
    for (let at = from; at < from + length; at += 1) hash = (hash * 31 + (bytes[at] ?? 0)) | 0;
    const slot = hash & (knownKeySlots - 1);
    const known = knownKeys[slot];
    this.#at += length;
    if (known !== undefined && known.length === length && isText(known, bytes, from)) return known;
    const text = this.#ascii(from, this.#at);
    if (text === null) return this.#utf8(start, from);
    knownKeys[slot] = text;
    return text;
  }

  /** Enters a container and returns its count; the input has at least `entryBytes` bytes for each entry. */
  #enter(start: number, info: number, entryBytes: number): number {
    const count = this.#argument(start, info);
    if (count < 0 || count > cborEntriesMax) this.#refuse(start, cborRules.tooMany);
    if (count * entryBytes > this.#end - this.#at) this.#refuse(start, cborRules.truncated);
    if (this.#depth >= cborDepthMax) this.#refuse(start, cborRules.tooDeep);
    this.#depth += 1;
    return count;
  }

  #array(start: number, info: number): readonly Item[] {
    const count = this.#enter(start, info, 1);
    const values: Item[] = [];
    for (let index = 0; index < count; index += 1) values.push(this.value());
    this.#depth -= 1;
    return values;
  }

  #map(start: number, info: number): Item {
    const count = this.#enter(start, info, 2);
    const map: { [key: string]: Item } = Object.create(null) as { [key: string]: Item };
    let keyBefore = -1;
    let keyBeforeEnd = -1;
    for (let index = 0; index < count; index += 1) {
      const keyStart = this.#at;
      const key = this.#textKey(keyStart);
      if (keyBefore >= 0) this.#ordered(keyBefore, keyBeforeEnd, keyStart);
      keyBefore = keyStart;
      keyBeforeEnd = this.#at;
      map[key] = this.value();
    }
    this.#depth -= 1;
    return map as Item;
  }

  #headerMap(start: number, info: number): HeaderValue {
    const count = this.#enter(start, info, 2);
    const map = new Map<number | bigint | string, HeaderValue>();
    let keyBefore = -1;
    let keyBeforeEnd = -1;
    for (let index = 0; index < count; index += 1) {
      const keyStart = this.#at;
      const major = (this.#bytes[keyStart] ?? 0) >>> 5;
      if (keyStart < this.#end && major !== 0 && major !== 1 && major !== 3) {
        this.#refuse(keyStart, cborRules.keyType);
      }
      const key = this.value() as number | bigint | string;
      if (keyBefore >= 0) this.#ordered(keyBefore, keyBeforeEnd, keyStart);
      keyBefore = keyStart;
      keyBeforeEnd = this.#at;
      map.set(key, this.value() as HeaderValue);
    }
    this.#depth -= 1;
    return map;
  }

  /** Refuses unless the encoded key that ends here sorts after the one before it. */
  #ordered(before: number, beforeEnd: number, key: number): void {
    const bytes = this.#bytes;
    const shared = Math.min(beforeEnd - before, this.#at - key);
    for (let index = 0; index < shared; index += 1) {
      const difference = (bytes[key + index] ?? 0) - (bytes[before + index] ?? 0);
      if (difference > 0) return;
      if (difference < 0) this.#refuse(key, cborRules.keyOrder);
    }
    // The keys are equal: heads carry the length, so neither key is a proper prefix of the other.
    this.#refuse(key, cborRules.keyTwice);
  }

  #simple(start: number, info: number): boolean | number | null {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
        return null;
      case 25:
      case 26:
      case 27:
        return this.#float(start, info);
      case 28:
      case 29:
      case 30:
        return this.#refuse(start, cborRules.reserved);
      case 31:
        return this.#refuse(start, cborRules.indefinite);
      default:
        return this.#refuse(start, cborRules.simple);
    }
  }

  #float(start: number, info: number): number {
    const width = 1 << (info - 24);
    const at = this.#at;
    if (width > this.#end - at) this.#refuse(start, cborRules.truncated);
    this.#at = at + width;
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, width);
    const value =
      width === 2 ? halfValue(view.getUint16(0)) : width === 4 ? view.getFloat32(0) : view.getFloat64(0);
    if (!Number.isFinite(value)) this.#refuse(start, cborRules.notFinite);
    if (Number.isSafeInteger(value)) this.#refuse(start, cborRules.integralFloat);
    if (width > 2 && halfBits(value) >= 0) this.#refuse(start, cborRules.longFloat);
    if (width > 4 && Math.fround(value) === value) this.#refuse(start, cborRules.longFloat);
    return value;
  }

  #refuse(offset: number, rule: string): never {
    return fail({ kind: "malformedCbor", offset, rule });
  }
}
