/**
 * The sandbox process's end of the pipe. Reads and writes block: there is nothing else to do meanwhile, and a full pipe
 * gives backpressure to a module that writes faster than the server reads.
 */
import { readSync, writeSync } from "node:fs";
import { encodeFrame, frameHeadBytes, messageParts, readU32be, type Frame } from "../sandbox/protocol.ts";

const pipe = 3;
const bufferBytes = 64 << 10;

export class Channel {
  readonly #buffer = new Uint8Array(bufferBytes);
  #from = 0;
  #to = 0;

  send(kind: number, ...parts: readonly Uint8Array[]): void {
    // One write per frame, so that a stack overflow cannot leave a partial frame.
    const frame = Buffer.concat(encodeFrame(kind, ...parts));
    for (let at = 0; at < frame.length;) at += writeSync(pipe, frame, at);
  }

  sendMessage(kind: number, header: unknown): void {
    this.send(kind, ...messageParts(header));
  }

  /** Blocks until the next frame; null if the server has closed the pipe. */
  receive(): Frame | null {
    const head = this.#read(frameHeadBytes);
    if (head === null) return null;
    const bytes = readU32be(head) - 1;
    const kind = head[4] ?? 0;
    const body = this.#read(bytes);
    return body === null ? null : { kind, body };
  }

  /** Copies the next bytes, since the buffer is reused. */
  #read(bytes: number): Uint8Array | null {
    const wanted = new Uint8Array(bytes);
    for (let at = 0; at < bytes;) {
      if (this.#from === this.#to) {
        this.#from = 0;
        this.#to = readSync(pipe, this.#buffer);
        if (this.#to === 0) return null;
      }
      const part = this.#buffer.subarray(this.#from, Math.min(this.#to, this.#from + bytes - at));
      wanted.set(part, at);
      at += part.length;
      this.#from += part.length;
    }
    return wanted;
  }
}
