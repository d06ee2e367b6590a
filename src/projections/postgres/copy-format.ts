/**
 * Rows in the binary form that COPY takes: exact for every number, and nothing to escape. Source: PostgreSQL 15,
 * "COPY", Binary Format, and the binary forms of its types. One buffer a table and batch, which
 * `projectionBatchBytesMax` bounds: a buffer a cell costs more than what is in it.
 */
import { assert } from "@sigil/core/errors";
import type { Cell, ColumnType, Row, Table } from "../tables.ts";

const signature = Buffer.from("PGCOPY\n\u00ff\r\n\0", "latin1");
/** Flags and the length of an extension: none. */
const header = Buffer.concat([signature, Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);
const jsonbVersion = 1;
/** Of 2000-01-01, where the database counts its microseconds from. */
const epochMs = 946_684_800_000n;

/** Appends to one buffer, which doubles when it is full. */
class Output {
  #bytes: Buffer;
  #length = 0;

  constructor(capacityBytes: number) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes);
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  byte(value: number): void {
    this.#take(1);
    this.#bytes[this.#length - 1] = value;
  }

  int16(value: number): void {
    const at = this.#take(2);
    this.#bytes.writeInt16BE(value, at);
  }

  int32(value: number): void {
    const at = this.#take(4);
    this.#bytes.writeInt32BE(value, at);
  }

  int64(value: bigint): void {
    const at = this.#take(8);
    this.#bytes.writeBigInt64BE(value, at);
  }

  float64(value: number): void {
    const at = this.#take(8);
    this.#bytes.writeDoubleBE(value, at);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** What `write` appends, after its length. */
  sized(write: () => void): void {
    const at = this.#take(4);
    write();
    this.#bytes.writeInt32BE(this.#length - at - 4, at);
  }

  text(text: string): void {
    // A unit of UTF-16 takes at most three bytes of UTF-8.
    const at = this.#take(3 * text.length);
    this.#length = at + this.#bytes.write(text, at);
  }

  /** @returns where so many bytes begin, which count as written. */
  #take(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * this.#length);
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

const whole = (cell: Cell): bigint => {
  assert(typeof cell === "bigint" || typeof cell === "number", "a column of integers holds something else");
  return BigInt(cell);
};

const text = (cell: Cell): string => {
  assert(typeof cell === "string", "a column of text holds something else");
  return cell;
};

/** Each writes what a cell holds, without its length. */
const encoders: Readonly<Record<ColumnType, (output: Output, cell: Cell) => void>> = {
  bigint: (output, cell) => output.int64(whole(cell)),
  boolean: (output, cell) => output.byte(cell === true ? 1 : 0),
  bytea: (output, cell) => {
    assert(cell instanceof Uint8Array, "a column of bytes holds something else");
    output.raw(cell);
  },
  "double precision": (output, cell) => output.float64(Number(cell)),
  integer: (output, cell) => output.int32(Number(cell)),
  jsonb: (output, cell) => {
    output.byte(jsonbVersion);
    output.text(text(cell));
  },
  text: (output, cell) => output.text(text(cell)),
  timestamptz: (output, cell) => output.int64((whole(cell) - epochMs) * 1000n),
};

const noCell = -1;
/** To begin with. */
const rowBytes = 512;

/** Every row with the table's columns in their order. */
export const formatCopy = ({ columns }: Table, rows: readonly Row[]): Buffer => {
  const types = Object.entries(columns);
  const output = new Output(header.length + rowBytes * rows.length + trailer.length);
  output.raw(header);
  for (const row of rows) {
    output.int16(types.length);
    for (const [name, type] of types) {
      const cell = row[name];
      assert(cell !== undefined, `a row lacks the column ${name}`);
      if (cell === null) output.int32(noCell);
      else output.sized(() => encoders[type](output, cell));
    }
  }
  output.raw(trailer);
  return output.written;
};
