/** Takes bytes of a file in order, in pieces of any length, whatever chunks it comes in. Pure. */
const nothing = new Uint8Array(0);

export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Uint8Array = nothing;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Undefined if the file has fewer. */
  async take(bytes: number): Promise<Uint8Array | undefined> {
    const taken = new Uint8Array(bytes);
    let filled = 0;
    while (filled < bytes) {
      if (!(await this.#fill())) return undefined;
      const part = this.#held.subarray(0, bytes - filled);
      taken.set(part, filled);
      filled += part.length;
      this.#held = this.#held.subarray(part.length);
    }
    return taken;
  }

  /** Whether there is nothing left. */
  async isOver(): Promise<boolean> {
    return !(await this.#fill());
  }

  async #fill(): Promise<boolean> {
    while (this.#held.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#held = next.value;
    }
    return true;
  }
}
