/**
 * The protocol between server and sandbox process over one pipe: frames of a length (u32be, of the rest), a kind (one
 * byte) and a body; a body is a length-prefixed JSON header followed by bytes. Pure. Neither side trusts the other: an
 * oversized or unexpected frame ends the process.
 */
import { utf8Decode, utf8Encode } from "@sigil/core/bytes";

/** From the server. */
export const toProcess = { load: 1, drop: 2, run: 3, answer: 4, inspect: 5 } as const;
/** From the process. */
export const fromProcess = {
  ready: 1,
  loaded: 2,
  output: 3,
  log: 4,
  call: 5,
  ended: 6,
  inspected: 7,
} as const;

export const frameHeadBytes = 5;

const u32be = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

export const readU32be = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0);

export type Frame = { readonly kind: number; readonly body: Uint8Array };

/** As separate parts, so that a large body is not copied. */
export const encodeFrame = (kind: number, ...parts: readonly Uint8Array[]): Uint8Array[] => {
  let bytes = 1;
  for (const part of parts) bytes += part.length;
  const head = new Uint8Array(frameHeadBytes);
  head.set(u32be(bytes));
  head[4] = kind;
  return [head, ...parts];
};

/** Encodes a header and bytes as parts of a frame body. */
export const messageParts = (header: unknown, rest: Uint8Array = new Uint8Array()): Uint8Array[] => {
  const text = utf8Encode(JSON.stringify(header));
  return [u32be(text.length), text, rest];
};

/** @throws Error if the body is malformed; the caller ends the process. */
export const readMessage = (body: Uint8Array): { readonly header: unknown; readonly rest: Uint8Array } => {
  const from = 4;
  const bytes = body.length < from ? -1 : readU32be(body);
  if (bytes < 0 || bytes > body.length - from) throw new Error("a message has no whole header");
  const header: unknown = JSON.parse(utf8Decode(body.subarray(from, from + bytes)));
  return { header, rest: body.subarray(from + bytes) };
};

/** Parses frames from a chunked stream. Buffers at most one frame of `frameBytesMax`. */
export class FrameReader {
  readonly #frameBytesMax: number;
  #pieces: Uint8Array[] = [];
  #held = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Returns the frames completed by this chunk. @throws Error if a frame is too long; the caller ends the process. */
  push(piece: Uint8Array): Frame[] {
    this.#pieces.push(piece);
    this.#held += piece.length;
    const frames: Frame[] = [];
    for (let wanted = this.#wanted(); this.#held >= wanted; wanted = this.#wanted()) {
      const frame = this.#take(wanted);
      frames.push({ kind: frame[4] ?? 0, body: frame.subarray(frameHeadBytes) });
    }
    return frames;
  }

  /** Size of the frame that begins here, including its length prefix; at least the minimum. */
  #wanted(): number {
    if (this.#held < frameHeadBytes) return frameHeadBytes;
    const bytes = readU32be(this.#whole(frameHeadBytes));
    if (bytes < 1 || bytes > this.#frameBytesMax) throw new Error(`a frame says it has ${bytes} bytes`);
    return bytes + 4;
  }

  /** Joins the first chunks into one of at least this many bytes. */
  #whole(bytes: number): Uint8Array {
    const [first = new Uint8Array()] = this.#pieces;
    if (first.length >= bytes) return first;
    const joined = new Uint8Array(this.#held);
    let at = 0;
    for (const piece of this.#pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [joined];
    return joined;
  }

  #take(bytes: number): Uint8Array {
    const whole = this.#whole(bytes);
    this.#held -= bytes;
    if (whole.length === bytes) this.#pieces.shift();
    else this.#pieces[0] = whole.subarray(bytes);
    return whole.subarray(0, bytes);
  }
}
