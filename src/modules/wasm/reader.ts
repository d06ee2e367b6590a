/**
 * Reads a WebAssembly binary byte by byte. Pure. Every read is bounds-checked; errors are `malformedModule` with the
 * offset. Source: WebAssembly Core Specification 2.0, §5.
 */
import { fail } from "../../errors.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class WasmReader {
  readonly bytes: Uint8Array;
  /** Exclusive end; a section or function body may end before the file. */
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, from = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = from;
    this.end = end;
  }

  get done(): boolean {
    return this.at === this.end;
  }

  refuse(rule: string, offset = this.at): never {
    return fail({ kind: "malformedModule", offset, rule });
  }

  byte(): number {
    if (this.at >= this.end) this.refuse("ends in the middle of something");
    const byte = this.bytes[this.at] ?? 0;
    this.at += 1;
    return byte;
  }

  skip(bytes: number): void {
    if (bytes > this.end - this.at) this.refuse("ends in the middle of something");
    this.at += bytes;
  }

  /** LEB128, unsigned, 32 bits. */
  u32(): number {
    const from = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      // The fifth byte may carry only four bits.
      if (shift === 28 && byte > 0x0f) this.refuse("has a number of more than 32 bits", from);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return this.refuse("has a number of more than 32 bits", from);
  }

  /** Skips a LEB128 (constants and block types), whose value the engine validates. */
  skipLeb(bitsMax: 33 | 32 | 64): void {
    const from = this.at;
    for (let count = Math.ceil(bitsMax / 7); count > 0; count -= 1) if (this.byte() < 0x80) return;
    this.refuse(`has a number of more than ${bitsMax} bits`, from);
  }

  /** Reads a byte length, which must be within bounds. */
  size(): number {
    const from = this.at;
    const bytes = this.u32();
    if (bytes > this.end - this.at) this.refuse(`has a length of ${bytes} bytes and fewer follow`, from);
    return bytes;
  }

  /** Reads a count of items of at least one byte each. */
  count(what: string, countMax: number): number {
    const from = this.at;
    const count = this.u32();
    if (count > countMax) this.refuse(`has ${count} ${what}, ${countMax} is the most`, from);
    return count;
  }

  name(bytesMax: number): string {
    const from = this.at;
    const bytes = this.size();
    if (bytes > bytesMax) this.refuse(`has a name of ${bytes} bytes, ${bytesMax} is the most`, from);
    const raw = this.bytes.subarray(this.at, this.at + bytes);
    this.at += bytes;
    try {
      return decoder.decode(raw);
    } catch {
      return this.refuse("has a name that is not UTF-8", from);
    }
  }
}
