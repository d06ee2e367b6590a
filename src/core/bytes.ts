/**
 * Branded byte strings and conversions. Pure. A brand is made only by its `parse…` function, which checks the length
 * and copies.
 */
import { invalidField } from "./errors.ts";

declare const brand: unique symbol;
export type Bytes<Name extends string> = Uint8Array & { readonly [brand]: Name };

/** A SHA-256 value, 32 bytes. */
export type Hash = Bytes<"Hash">;
/** An Ed25519 public key, 32 bytes. Not yet checked to be a point; enrolment does that. */
export type PublicKey = Bytes<"PublicKey">;
/** An Ed25519 signature, 64 bytes. */
export type Signature = Bytes<"Signature">;
/** An ML-DSA-44 public key, 1,312 bytes: every string of that length is one. */
export type Mldsa44PublicKey = Bytes<"Mldsa44PublicKey">;
/** An ML-DSA-44 signature, 2,420 bytes. */
export type Mldsa44Signature = Bytes<"Mldsa44Signature">;
/** A COSE key thumbprint (RFC 9679, SHA-256), 32 bytes. */
export type Thumbprint = Bytes<"Thumbprint">;

const exactly = <B extends Bytes<string>>(raw: Uint8Array, bytes: number, name: string): B => {
  if (raw.length !== bytes) {
    invalidField(name, `must be ${bytes} bytes, got ${raw.length}`);
  }
  // `Uint8Array.from` uses an iterator and takes four times as long.
  return new Uint8Array(raw) as Uint8Array as B;
};

/** @throws invalidField unless 32 bytes. */
export const parseHash = (raw: Uint8Array): Hash => exactly(raw, 32, "hash");
/** @throws invalidField unless 32 bytes. */
export const parsePublicKey = (raw: Uint8Array): PublicKey => exactly(raw, 32, "public_key");
/** @throws invalidField unless 64 bytes. */
export const parseSignature = (raw: Uint8Array): Signature => exactly(raw, 64, "signature");
/** @throws invalidField unless 1,312 bytes. */
export const parseMldsa44PublicKey = (raw: Uint8Array): Mldsa44PublicKey => exactly(raw, 1312, "public_key");
/** @throws invalidField unless 2,420 bytes. */
export const parseMldsa44Signature = (raw: Uint8Array): Mldsa44Signature => exactly(raw, 2420, "signature");
/** @throws invalidField unless 32 bytes. */
export const parseThumbprint = (raw: Uint8Array): Thumbprint => exactly(raw, 32, "kid");

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** For fewer characters a loop is faster than calling TextEncoder. */
const shortText = 64;

export const utf8Encode = (text: string): Uint8Array => {
  if (text.length >= shortText) return encoder.encode(text);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return encoder.encode(text);
    bytes[index] = code;
  }
  return bytes;
};
/** @throws TypeError when the bytes are not UTF-8. */
export const utf8Decode = (bytes: Uint8Array): string => decoder.decode(bytes);

export const concatBytes = (...parts: readonly Uint8Array[]): Uint8Array => {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
};

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
};

/** Lexicographic byte order; a prefix sorts before longer strings. */
export const compareBytes = (a: Uint8Array, b: Uint8Array): number => {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
};

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export const toHex = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
};

/** @throws invalidField when the text is not an even number of hex digits. */
export const fromHex = (text: string): Uint8Array => {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    invalidField("hex", "must be an even number of hex digits");
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[index] = Number.parseInt(text.slice(2 * index, 2 * index + 2), 16);
  }
  return bytes;
};

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Of a digit by its character code; −1 for what is none. */
const BASE64_VALUES = Int8Array.from({ length: 128 }, (_, code) => BASE64.indexOf(String.fromCharCode(code)));

/** Standard base64 with padding, RFC 4648 §4. */
export const toBase64 = (bytes: Uint8Array): string => {
  let text = "";
  for (let index = 0; index < bytes.length; index += 3) {
    const left = bytes.length - index;
    const group = ((bytes[index] ?? 0) << 16) | ((bytes[index + 1] ?? 0) << 8) | (bytes[index + 2] ?? 0);
    text += BASE64[group >> 18];
    text += BASE64[(group >> 12) & 63];
    text += left > 1 ? BASE64[(group >> 6) & 63] : "=";
    text += left > 2 ? BASE64[group & 63] : "=";
  }
  return text;
};

/** Strict standard base64: padded, no white space, unused bits zero. @throws invalidField. */
export const fromBase64 = (text: string): Uint8Array => {
  const bare = text.replace(/={0,2}$/, "");
  const bytes = new Uint8Array(Math.floor((bare.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let offset = 0;
  for (let index = 0; index < bare.length; index += 1) {
    const value = BASE64_VALUES[bare.charCodeAt(index)] ?? -1;
    if (value < 0) break;
    held = ((held << 6) | value) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[offset] = (held >> bits) & 0xff;
      offset += 1;
    }
  }
  if (toBase64(bytes) !== text) {
    invalidField("base64", "must be padded standard base64");
  }
  return bytes;
};

/** Base64 for URLs and file names, without padding, RFC 4648 §5. */
export const toBase64Url = (bytes: Uint8Array): string =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** @throws invalidField when the text is not unpadded base64url. */
export const fromBase64Url = (text: string): Uint8Array => {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) {
    invalidField("base64url", "must be unpadded base64url");
  }
  const padding = "=".repeat((4 - (text.length % 4)) % 4);
  return fromBase64(text.replaceAll("-", "+").replaceAll("_", "/") + padding);
};

/**
 * Eight bytes, most significant first: byte order is number order. Written by hand: a DataView over a new small array
 * first moves it off the heap, which dominates the cost.
 */
export const writeU64be = (bytes: Uint8Array, offset: number, value: bigint): void => {
  const high = Number(value >> 32n);
  const low = Number(value & 0xffff_ffffn);
  bytes[offset] = high >>> 24;
  bytes[offset + 1] = high >>> 16;
  bytes[offset + 2] = high >>> 8;
  bytes[offset + 3] = high;
  bytes[offset + 4] = low >>> 24;
  bytes[offset + 5] = low >>> 16;
  bytes[offset + 6] = low >>> 8;
  bytes[offset + 7] = low;
};

export const u64be = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  writeU64be(bytes, 0, value);
  return bytes;
};

export const readU64be = (bytes: Uint8Array, offset = 0): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset);
