/** Access to a running module's memory from its imports. Every access is checked against the current size. */

/** An address outside the module's memory; the module gets an error code and continues. */
export class OutsideMemory extends Error {}

export class GuestMemory {
  #memory: WebAssembly.Memory | undefined;
  #bytes = new Uint8Array();
  #view = new DataView(this.#bytes.buffer);

  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** @throws OutsideMemory, also before the memory exists. */
  #reach(pointer: number, bytes: number): void {
    const buffer = this.#memory?.buffer;
    if (buffer === undefined || pointer + bytes > buffer.byteLength) throw new OutsideMemory();
    // Growing detaches the old buffer.
    if (this.#view.buffer !== buffer) {
      this.#bytes = new Uint8Array(buffer);
      this.#view = new DataView(buffer);
    }
  }

  /** A view, not a copy; valid until the module continues. */
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
