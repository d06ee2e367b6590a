/**
 * Rows in the binary form that COPY takes: exact for every number, and nothing to escape. Source: PostgreSQL 15,
 * "COPY", Binary Format, and the binary forms of its types. One buffer a table and batch, which
 * `projectionBatchBytesMax` bounds.
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

const int32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
};

const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};

const float64 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeDoubleBE(value);
  return bytes;
};

const whole = (cell: Cell): bigint => {
  assert(typeof cell === "bigint" || typeof cell === "number", "a column of integers holds something else");
  return BigInt(cell);
};

const text = (cell: Cell): string => {
  assert(typeof cell === "string", "a column of text holds something else");
  return cell;
};

const encoders: Readonly<Record<ColumnType, (cell: Cell) => Uint8Array>> = {
  bigint: (cell) => int64(whole(cell)),
  boolean: (cell) => Buffer.from([cell === true ? 1 : 0]),
  bytea: (cell) => {
    assert(cell instanceof Uint8Array, "a column of bytes holds something else");
    return cell;
  },
  "double precision": (cell) => float64(Number(cell)),
  integer: (cell) => int32(Number(cell)),
  jsonb: (cell) => Buffer.concat([Buffer.from([jsonbVersion]), Buffer.from(text(cell))]),
  text: (cell) => Buffer.from(text(cell)),
  timestamptz: (cell) => int64((whole(cell) - epochMs) * 1000n),
};

const noCell = int32(-1);

/** Every row with the table's columns in their order. */
export const formatCopy = ({ columns }: Table, rows: readonly Row[]): Buffer => {
  const types = Object.entries(columns);
  const count = Buffer.allocUnsafe(2);
  count.writeInt16BE(types.length);
  const parts: Uint8Array[] = [header];
  for (const row of rows) {
    parts.push(count);
    for (const [name, type] of types) {
      const cell = row[name];
      assert(cell !== undefined, `a row lacks the column ${name}`);
      if (cell === null) {
        parts.push(noCell);
        continue;
      }
      const bytes = encoders[type](cell);
      parts.push(int32(bytes.length), bytes);
    }
  }
  parts.push(trailer);
  return Buffer.concat(parts);
};
