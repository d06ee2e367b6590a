/**
 * What the server and a sandbox process say to each other over one pipe: frames of a length (u32be, of all that
 * follows), a kind (one byte) and a body; a body is a header in JSON, with its own length before it, and bytes. Pure.
 * Neither side believes the other: what is longer than it may be, or comes when it may not, ends the process.
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

/** In pieces, so that a large body is not copied. */
export const encodeFrame = (kind: number, ...parts: readonly Uint8Array[]): Uint8Array[] => {
  let bytes = 1;
  for (const part of parts) bytes += part.length;
  const head = new Uint8Array(frameHeadBytes);
  head.set(u32be(bytes));
  head[4] = kind;
  return [head, ...parts];
};

/** A body of a header and bytes, as parts of a frame. */
export const messageParts = (header: unknown, rest: Uint8Array = new Uint8Array()): Uint8Array[] => {
  const text = utf8Encode(JSON.stringify(header));
  return [u32be(text.length), text, rest];
};

/** @throws when the body is none; the caller ends the process. */
export const readMessage = (body: Uint8Array): { readonly header: unknown; readonly rest: Uint8Array } => {
  const from = 4;
  const bytes = body.length < from ? -1 : readU32be(body);
  if (bytes < 0 || bytes > body.length - from) throw new Error("a message has no whole header");
  const header: unknown = JSON.parse(utf8Decode(body.subarray(from, from + bytes)));
  return { header, rest: body.subarray(from + bytes) };
};

/** Frames out of a stream of pieces. Holds at most one frame of `frameBytesMax`. */
export class FrameReader {
  readonly #frameBytesMax: number;
  #pieces: Uint8Array[] = [];
  #held = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /**
   * The frames that are whole with this piece. @throws when a frame is longer than it may be; the caller ends the
   * process.
   */
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

  /** Bytes of the frame that begins here, its length included; at least those of the smallest. */
  #wanted(): number {
    if (this.#held < frameHeadBytes) return frameHeadBytes;
    const bytes = readU32be(this.#whole(frameHeadBytes));
    if (bytes < 1 || bytes > this.#frameBytesMax) throw new Error(`a frame says it has ${bytes} bytes`);
    return bytes + 4;
  }

  /** The first pieces joined until there are this many bytes in one. */
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
