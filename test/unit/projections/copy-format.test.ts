/** Rows in the binary form of COPY, read again as PostgreSQL's documentation describes it. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { formatCopy } from "../../../src/projections/postgres/copy-format.ts";
import type { Row, Table } from "../../../src/projections/tables.ts";

const columns = {
  position: "bigint",
  count: "integer",
  score: "double precision",
  erased: "boolean",
  name: "text",
  envelope: "bytea",
  payload: "jsonb",
} as const;

const table: Table = { columns, key: ["position"], nullable: Object.keys(columns), indexes: [] };

const readCell = (type: string, bytes: Buffer): unknown => {
  switch (type) {
    case "bigint":
      return bytes.readBigInt64BE();
    case "integer":
      return bytes.readInt32BE();
    case "double precision":
      return bytes.readDoubleBE();
    case "boolean":
      return bytes[0] === 1;
    case "bytea":
      return new Uint8Array(bytes);
    case "jsonb":
      return bytes.toString("utf8", 1);
    default:
      return bytes.toString("utf8");
  }
};

const readCopy = (copy: Buffer): readonly Row[] => {
  const rows: Record<string, unknown>[] = [];
  let at = 19;
  for (;;) {
    const cells = copy.readInt16BE(at);
    at += 2;
    if (cells === -1) break;
    const row: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(columns)) {
      const length = copy.readInt32BE(at);
      at += 4;
      row[name] = length === -1 ? null : readCell(type, copy.subarray(at, at + length));
      at += Math.max(0, length);
    }
    rows.push(row);
  }
  expect(at).to.equal(copy.length);
  return rows as readonly Row[];
};

const orNull = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> =>
  fc.option(value, { nil: null });

/** Sizes around the first capacity of the buffer, so that it grows under each type of cell. */
const text = fc
  .tuple(fc.string({ unit: "binary" }), fc.nat(700))
  .map(([some, length]) => some.padEnd(length, "ä"));

const row = fc.record({
  position: orNull(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  count: orNull(fc.integer()),
  score: orNull(fc.double({ noNaN: true })),
  erased: orNull(fc.boolean()),
  name: orNull(text),
  envelope: orNull(fc.nat(1500).map((length) => new Uint8Array(length).fill(length))),
  payload: orNull(text.map((value) => JSON.stringify(value))),
});

describe("rows in the binary form of COPY", () => {
  it("are what was written, wherever the buffer grows", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 12 }), (rows) => {
        expect(readCopy(formatCopy(table, rows))).to.deep.equal(rows);
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});
