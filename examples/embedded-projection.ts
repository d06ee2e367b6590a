/**
 * A projection in one SQLite file: the tables of every projection behind the contract of their stores, so that the tour
 * needs no database server. Rows and cursor are written in one transaction; the file has one writer.
 */
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from "node:sqlite";
import { concatBytes, equalBytes, parseHash, type Hash } from "@sigil/core/bytes";
import { peaksOf, restoreFrontier } from "@sigil/core/merkle";
import { noProgress } from "../src/projections/consumer.ts";
import { addRows, noDigests, type Digests } from "../src/projections/digest.ts";
import { failProjection } from "../src/projections/fault.ts";
import { erasuresIn, rowsOf, type ErasureOrder } from "../src/projections/rows.ts";
import type { ErasedRows, Gathered, ProjectionStore, Resumed } from "../src/projections/store.ts";
import {
  appendedNames,
  appendedTables,
  type AppendedTable,
  type Cell,
  type ColumnType,
  type Row,
  type Table,
} from "../src/projections/tables.ts";

type StoredRow = Readonly<Record<string, SQLOutputValue>>;

const typeNames: Readonly<Record<ColumnType, string>> = {
  bigint: "INTEGER",
  boolean: "INTEGER",
  bytea: "BLOB",
  "double precision": "REAL",
  integer: "INTEGER",
  jsonb: "TEXT",
  text: "TEXT",
  timestamptz: "INTEGER",
};

const quoted = (name: string): string => `"${name}"`;

const createTable = (name: string, { columns, key, nullable }: Table): string => {
  const lines = Object.entries(columns).map(
    ([column, type]) => `${quoted(column)} ${typeNames[type]}${nullable.includes(column) ? "" : " NOT NULL"}`,
  );
  return `CREATE TABLE ${name} (${lines.join(", ")}, PRIMARY KEY (${key.map(quoted).join(", ")})) STRICT`;
};

const schema = [
  ...Object.entries(appendedTables).map(([name, table]) => createTable(name, table)),
  "CREATE TABLE lanes (lane TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT",
  "CREATE TABLE cursor (genesis BLOB NOT NULL, next INTEGER NOT NULL, peaks BLOB NOT NULL, checkpoint TEXT) STRICT",
];

/** They hold rows of a tenant, which go with it. */
const tenantTables = appendedNames.filter((name) => name !== "record_versions");

const stored = (cell: Cell | undefined): SQLInputValue =>
  typeof cell === "boolean" ? Number(cell) : (cell ?? null);

/** As `rowsOf` gives it: of whole numbers only a position is a bigint. */
const cellOf = (column: string, type: ColumnType, value: SQLOutputValue | undefined): Cell => {
  if (type === "boolean" && typeof value === "bigint") return value === 1n;
  return typeof value === "bigint" && column !== "position" ? Number(value) : (value ?? null);
};

const bigintOf = (value: SQLOutputValue | undefined): bigint => (typeof value === "bigint" ? value : 0n);

const bytesOf = (value: SQLOutputValue | undefined): Uint8Array =>
  value instanceof Uint8Array ? value : new Uint8Array(0);

/** Places that came as erased, those that reports account for, and orders without a report. */
const erasureCounts = `
  WITH orders AS (
    SELECT payload->>'tenant' AS tenant FROM record_versions WHERE kind = 'erasure' AND space = 'system'
  ), reports AS (
    SELECT payload->>'tenant' AS tenant, CAST(payload->>'records' AS INTEGER) AS records
      FROM record_versions WHERE kind = 'erased' AND space = 'system'
  )
  SELECT (SELECT count(*) FROM record_versions WHERE erased) AS erased,
         (SELECT coalesce(sum(records), 0) FROM reports) AS reported,
         (SELECT count(*) FROM orders WHERE tenant NOT IN (SELECT tenant FROM reports)) AS open`;

export class EmbeddedProjection implements ProjectionStore, Disposable {
  readonly #database: DatabaseSync;
  readonly #genesis: Hash;

  /** Makes the tables unless they are there. @param genesis hash of the genesis record. */
  constructor(path: string, genesis: Hash) {
    this.#genesis = genesis;
    this.#database = new DatabaseSync(path, { readBigInts: true });
    if (this.query("SELECT 1 FROM sqlite_schema").length > 0) return;
    this.#inTransaction(() => {
      for (const statement of schema) this.#database.exec(statement);
      this.#run("INSERT INTO cursor VALUES (?, 0, x'', NULL)", [genesis]);
    });
  }

  /** Whole numbers come as bigint. */
  query(text: string): readonly StoredRow[] {
    return this.#database.prepare(text).all();
  }

  /** The newest signed note whose root was compared; undefined before the first. */
  get checkpoint(): string | undefined {
    const [row] = this.query("SELECT checkpoint FROM cursor");
    return typeof row?.["checkpoint"] === "string" ? row["checkpoint"] : undefined;
  }

  /** Over what is stored. */
  digests(): Digests {
    const read = (name: AppendedTable): readonly Row[] => this.#read(name, appendedTables[name]);
    return addRows(noDigests, {
      record_versions: read("record_versions"),
      links: read("links"),
      decisions: read("decisions"),
      proposals: read("proposals"),
      proposal_endings: read("proposal_endings"),
      attestations: read("attestations"),
      module_runs: read("module_runs"),
    });
  }

  async resume(): Promise<Resumed> {
    const [cursor] = this.query("SELECT genesis, next, peaks FROM cursor");
    if (!equalBytes(bytesOf(cursor?.["genesis"]), this.#genesis)) {
      failProjection({ kind: "otherLedger", rule: "it was filled from another genesis record" });
    }
    const next = bigintOf(cursor?.["next"]);
    if (next === 0n) return { progress: noProgress, keyRecords: [], checkpoint: undefined };
    const peaks = bytesOf(cursor?.["peaks"]);
    const hashes = peaksOf(next).map((_, at) => parseHash(peaks.subarray(32 * at, 32 * (at + 1))));
    const lanes = this.query("SELECT lane, position FROM lanes").map(
      ({ lane, position }) => [String(lane), { position: bigintOf(position) }] as const,
    );
    const keyRecords = this.query(
      `SELECT position, envelope FROM record_versions
        WHERE space = 'system' AND kind IN ('genesis', 'signing_key', 'key_retirement') ORDER BY position`,
    ).map(({ position, envelope }) => ({ position: bigintOf(position), envelope: bytesOf(envelope) }));
    return {
      progress: { next, lanes: new Map(lanes), frontier: restoreFrontier(next, hashes) },
      keyRecords,
      checkpoint: this.checkpoint,
    };
  }

  async apply({ places, from, progress, checkpoint }: Gathered): Promise<readonly ErasedRows[]> {
    const rows = rowsOf(places);
    return this.#inTransaction(() => {
      const found = bigintOf(this.query("SELECT next FROM cursor")[0]?.["next"]);
      if (found !== from) failProjection({ kind: "cursorMoved", expected: from, found });
      for (const name of appendedNames) this.#insert(name, appendedTables[name], rows[name]);
      const erased = erasuresIn(places).map((order) => this.#erase(order));
      this.#run("UPDATE cursor SET next = ?, peaks = ?, checkpoint = coalesce(?, checkpoint)", [
        progress.next,
        concatBytes(...progress.frontier.peaks),
        checkpoint ?? null,
      ]);
      for (const [lane, { position }] of progress.lanes) {
        this.#run("INSERT OR REPLACE INTO lanes VALUES (?, ?)", [lane, position]);
      }
      return erased;
    });
  }

  async publish(): Promise<void> {
    const [counts] = this.query(erasureCounts);
    const [erased, reported] = [bigintOf(counts?.["erased"]), bigintOf(counts?.["reported"])];
    if (bigintOf(counts?.["open"]) > 0n || erased <= reported) return;
    failProjection({ kind: "withheld", erased, reported });
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #read(name: string, { columns, key }: Table): readonly Row[] {
    return this.query(`SELECT * FROM ${name} ORDER BY ${key.map(quoted).join(", ")}`).map((row) =>
      Object.fromEntries(
        Object.entries(columns).map(([column, type]) => [column, cellOf(column, type, row[column])]),
      ),
    );
  }

  #insert(name: string, { columns }: Table, rows: readonly Row[]): void {
    const places = Object.keys(columns).map(() => "?");
    const insert = this.#database.prepare(`INSERT INTO ${name} VALUES (${places.join(", ")})`);
    for (const row of rows) insert.run(...Object.keys(columns).map((column) => stored(row[column])));
  }

  /** Of a place only position and leaf stay, as in the ledger. */
  #erase({ tenant, position }: ErasureOrder): ErasedRows {
    for (const name of tenantTables) {
      this.#run(`DELETE FROM ${name} WHERE tenant = ? AND position < ?`, [tenant, position]);
    }
    const nothing = appendedTables.record_versions.nullable.map((column) => `${quoted(column)} = NULL`);
    const text = `UPDATE record_versions SET erased = 1, ${nothing.join(", ")} WHERE tenant = ? AND position < ?`;
    return { tenant, records: BigInt(this.#run(text, [tenant, position]).changes) };
  }

  #run(text: string, values: readonly SQLInputValue[]) {
    return this.#database.prepare(text).run(...values);
  }

  #inTransaction<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}
