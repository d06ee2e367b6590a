/** A running module's memory as its imports reach it. Every access is checked against its size at that moment. */

/** An address outside the module's memory; the module gets an error, the run goes on. */
export class OutsideMemory extends Error {}

export class GuestMemory {
  #memory: WebAssembly.Memory | undefined;
  #bytes = new Uint8Array();
  #view = new DataView(this.#bytes.buffer);

  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** @throws OutsideMemory; also before there is a memory. */
  #reach(pointer: number, bytes: number): void {
    const buffer = this.#memory?.buffer;
    if (buffer === undefined || pointer + bytes > buffer.byteLength) throw new OutsideMemory();
    // Growth leaves the old buffer behind.
    if (this.#view.buffer !== buffer) {
      this.#bytes = new Uint8Array(buffer);
      this.#view = new DataView(buffer);
    }
  }

  /** The bytes themselves, not a copy; good until the module runs on. */
  slice(pointer: number, bytes: number): Uint8Array {
    this.#reach(pointer, bytes);
    return this.#bytes.subarray(pointer, pointer + bytes);
  }

  u8(pointer: number): number {
    this.#reach(pointer, 1);
    return this.#view.getUint8(pointer);
  }

  u16(pointer: number): number {
    this.#reach(pointer, 2);
    return this.#view.getUint16(pointer, true);
  }

  u32(pointer: number): number {
    this.#reach(pointer, 4);
    return this.#view.getUint32(pointer, true);
  }

  u64(pointer: number): bigint {
    this.#reach(pointer, 8);
    return this.#view.getBigUint64(pointer, true);
  }

  setU32(pointer: number, value: number): void {
    this.#reach(pointer, 4);
    this.#view.setUint32(pointer, value, true);
  }

  setU64(pointer: number, value: bigint): void {
    this.#reach(pointer, 8);
    this.#view.setBigUint64(pointer, value, true);
  }

  set(pointer: number, bytes: Uint8Array): void {
    this.slice(pointer, bytes.length).set(bytes);
  }
}
