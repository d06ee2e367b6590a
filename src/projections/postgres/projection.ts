/**
 * A projection in PostgreSQL. Rows and cursors are written in one transaction; a crash leaves the batch before it,
 * whole. A transaction need not be on disk when it is acknowledged (`synchronous_commit` is off): the cursor is lost
 * with the rows, and both are read again. One consumer writes at a time, by an advisory lock and by the cursor it
 * expects.
 */
import { once } from "node:events";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { equalBytes } from "@sigil/core/bytes";
import { projectionLockMs, projectionMaintenanceMs } from "../../limits.ts";
import { noProgress } from "../consumer.ts";
import { failProjection } from "../fault.ts";
import { formatPeaks, parsePeaks } from "../peaks.ts";
import { erasuresIn, headsOf, rowsOf, type ErasureOrder } from "../rows.ts";
import type { ErasedRows, Gathered, ProjectionStore, Resumed, StoreOptions } from "../store.ts";
import { appendedNames, appendedTables, heads, type Row, type Table } from "../tables.ts";
import { withheldBy } from "../withheld.ts";
import { guarded } from "./connect.ts";
import { formatCopy } from "./copy-format.ts";
import {
  createIndexes,
  createSchema,
  dataSchema,
  erasedColumns,
  grantReading,
  nextSchema,
  quoted,
  tenantTables,
  turnViews,
} from "./schema.ts";
import { erasuresOf } from "./withheld.ts";

export type PostgresOptions = StoreOptions & {
  /** Of the views; tables lie beside it. */
  readonly name: string;
  /** Roles that may read the views, and nothing else. */
  readonly readers: readonly string[];
};

/** SQLSTATE of a lock that was waited for in vain. */
const lockNotAvailable = "55P03";

type CursorRow = {
  readonly genesis: Buffer;
  readonly next: bigint;
  readonly peaks: Buffer;
  readonly checkpoint: string | null;
};

const exists = async (client: pg.Client, schema: string): Promise<boolean> => {
  const { rowCount } = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]);
  return rowCount === 1;
};

const runAll = async (client: pg.Client, statements: readonly string[]): Promise<void> => {
  for (const statement of statements) await client.query(statement);
};

const inTransaction = async <T>(client: pg.Client, work: () => Promise<T>): Promise<T> => {
  await client.query("BEGIN");
  try {
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    // A connection that is gone has rolled back by itself.
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
};

const copyRows = async (
  client: pg.Client,
  into: string,
  table: Table,
  rows: readonly Row[],
): Promise<void> => {
  if (rows.length === 0) return;
  const columns = Object.keys(table.columns).map(quoted).join(", ");
  // Before COPY begins: one that is begun and never ended would hold up the rollback for ever.
  const bytes = formatCopy(table, rows);
  const stream = client.query(copyFrom(`COPY ${into} (${columns}) FROM STDIN (FORMAT binary)`));
  stream.end(bytes);
  await once(stream, "finish");
};

/** Makes the tables, unless they are there. @returns where they lie. */
const prepare = async (client: pg.Client, { name, genesis, mode }: PostgresOptions): Promise<string> => {
  const schema = mode === "rebuild" ? nextSchema(name) : dataSchema(name);
  await inTransaction(client, async () => {
    if (mode === "rebuild") await client.query(`DROP SCHEMA IF EXISTS ${quoted(schema)} CASCADE`);
    if (await exists(client, schema)) return;
    await runAll(client, createSchema(schema));
    await client.query(
      `INSERT INTO ${quoted(schema)}.cursor (genesis, next, peaks, is_ready, updated_at)
       VALUES ($1, 0, '', false, now())`,
      [Buffer.from(genesis)],
    );
  });
  return schema;
};

class PostgresProjection implements ProjectionStore {
  readonly #client: pg.Client;
  readonly #options: PostgresOptions;
  /** As SQL names it. */
  #schema: string;

  constructor(client: pg.Client, options: PostgresOptions, schema: string) {
    this.#client = client;
    this.#options = options;
    this.#schema = quoted(schema);
  }

  resume(): Promise<Resumed> {
    return guarded(async () => {
      const client = this.#client;
      const { rows } = await client.query<CursorRow>(
        `SELECT genesis, next, peaks, checkpoint FROM ${this.#schema}.cursor`,
      );
      const [cursor] = rows;
      if (cursor === undefined) {
        return failProjection({ kind: "projectionDamaged", rule: "it has no cursor: rebuild it" });
      }
      if (!equalBytes(cursor.genesis, this.#options.genesis)) {
        failProjection({
          kind: "otherLedger",
          rule: "it was filled from a ledger of another genesis record",
        });
      }
      if (cursor.next === 0n) return { progress: noProgress, keyRecords: [], checkpoint: undefined };
      const lanes = await client.query<{ readonly lane: string; readonly position: bigint }>(
        `SELECT lane, position FROM ${this.#schema}.lanes`,
      );
      const keyRecords = await client.query<{ readonly position: bigint; readonly envelope: Buffer }>(
        `SELECT position, envelope FROM ${this.#schema}.record_versions
          WHERE space = 'system' AND kind IN ('genesis', 'signing_key', 'key_retirement') ORDER BY position`,
      );
      return {
        progress: {
          next: cursor.next,
          lanes: new Map(lanes.rows.map(({ lane, position }) => [lane, { position }])),
          frontier: parsePeaks(cursor.next, cursor.peaks),
        },
        keyRecords: keyRecords.rows,
        checkpoint: cursor.checkpoint ?? undefined,
      };
    });
  }

  apply(gathered: Gathered): Promise<readonly ErasedRows[]> {
    const { places } = gathered;
    const rows = rowsOf(places);
    const orders = erasuresIn(places);
    return guarded(() =>
      inTransaction(this.#client, async () => {
        await this.#requireCursor(gathered.from);
        for (const name of appendedNames) {
          await copyRows(this.#client, `${this.#schema}.${quoted(name)}`, appendedTables[name], rows[name]);
        }
        await this.#writeHeads(headsOf(places));
        const erased: ErasedRows[] = [];
        for (const order of orders) erased.push(await this.#erase(order));
        await this.#writeProgress(gathered);
        return erased;
      }),
    );
  }

  publish(): Promise<void> {
    return guarded(() =>
      inTransaction(this.#client, async () => {
        const client = this.#client;
        const { name, mode, readers } = this.#options;
        await client.query(`SET LOCAL statement_timeout = ${projectionMaintenanceMs}`);
        const withheld = withheldBy(await erasuresOf(client, this.#schema));
        if (withheld !== undefined) failProjection({ kind: "withheld", ...withheld });
        await runAll(client, createIndexes(this.#schema.slice(1, -1)));
        await client.query(`UPDATE ${this.#schema}.cursor SET is_ready = true`);
        await runAll(client, turnViews(name, this.#schema.slice(1, -1)));
        for (const role of readers) await runAll(client, grantReading(name, role));
        if (mode === "rebuild") await this.#takePlace();
      }),
    );
  }

  /** Of what was there before: views that lead to a schema follow it when it is renamed. */
  async #takePlace(): Promise<void> {
    const own = dataSchema(this.#options.name);
    if (this.#schema === quoted(own)) return;
    await this.#client.query(`DROP SCHEMA IF EXISTS ${quoted(own)} CASCADE`);
    await this.#client.query(`ALTER SCHEMA ${this.#schema} RENAME TO ${quoted(own)}`);
    this.#schema = quoted(own);
  }

  async #requireCursor(expected: bigint): Promise<void> {
    const { rows } = await this.#client.query<{ readonly next: bigint }>(
      `SELECT next FROM ${this.#schema}.cursor FOR UPDATE`,
    );
    const found = rows[0]?.next ?? -1n;
    if (found !== expected) failProjection({ kind: "cursorMoved", expected, found });
  }

  /** Through a table of their own: a head is written only over an older one. */
  async #writeHeads(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    const client = this.#client;
    await client.query(`CREATE TEMPORARY TABLE new_heads (LIKE ${this.#schema}.records) ON COMMIT DROP`);
    await copyRows(client, "new_heads", heads, rows);
    await client.query(
      `INSERT INTO ${this.#schema}.records AS old SELECT * FROM new_heads
       ON CONFLICT (tenant, space, id) DO UPDATE SET
         kind = excluded.kind, position = excluded.position, hash = excluded.hash,
         versions = old.versions + excluded.versions, is_ended = excluded.is_ended, last_at = excluded.last_at
       WHERE old.position < excluded.position`,
    );
  }

  /** Only position and leaf stay, as in the ledger. */
  async #erase({ tenant, position }: ErasureOrder): Promise<ErasedRows> {
    const client = this.#client;
    // What was promised away is on disk as gone before anybody is told.
    await client.query("SET LOCAL synchronous_commit TO on");
    await client.query(`SET LOCAL statement_timeout = ${projectionMaintenanceMs}`);
    for (const name of tenantTables) {
      await client.query(`DELETE FROM ${this.#schema}.${quoted(name)} WHERE tenant = $1 AND position < $2`, [
        tenant,
        position,
      ]);
    }
    const nothing = erasedColumns.map((column) => `${quoted(column)} = NULL`).join(", ");
    const { rowCount } = await client.query(
      `UPDATE ${this.#schema}.record_versions SET erased = true, ${nothing} WHERE tenant = $1 AND position < $2`,
      [tenant, position],
    );
    return { tenant, records: BigInt(rowCount ?? 0) };
  }

  async #writeProgress({ progress, checkpoint }: Gathered): Promise<void> {
    const { next, lanes, frontier } = progress;
    await this.#client.query(
      `UPDATE ${this.#schema}.cursor
          SET next = $1, peaks = $2, checkpoint = coalesce($3, checkpoint), updated_at = now()`,
      [next, Buffer.from(formatPeaks(frontier)), checkpoint ?? null],
    );
    for (const [lane, { position }] of lanes) {
      await this.#client.query(
        `INSERT INTO ${this.#schema}.lanes AS old VALUES ($1, $2)
         ON CONFLICT (lane) DO UPDATE SET position = excluded.position WHERE old.position < excluded.position`,
        [lane, position],
      );
    }
  }
}

/** One writer a projection: another one is waited for, as long as a killed one takes to be noticed. */
const lock = async (
  client: pg.Client,
  { name, lockMs = projectionLockMs }: PostgresOptions,
): Promise<void> => {
  await client.query(`SET lock_timeout = ${lockMs}`);
  try {
    await client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`sigil projection ${name}`]);
  } catch (cause) {
    if ((cause as { readonly code?: unknown }).code !== lockNotAvailable) throw cause;
    failProjection({ kind: "consumerRunning" }, { cause });
  }
  await client.query("SET lock_timeout = DEFAULT");
};

/** @throws ProjectionFault: databaseFailed, otherLedger. */
export const openPostgresProjection = (
  client: pg.Client,
  options: PostgresOptions,
): Promise<ProjectionStore> =>
  guarded(async () => {
    await client.query("SET synchronous_commit TO off");
    await client.query("SET client_min_messages TO warning");
    await lock(client, options);
    return new PostgresProjection(client, options, await prepare(client, options));
  });
