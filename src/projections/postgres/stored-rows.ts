/**
 * What is stored, read back exactly as it was written: for digests and for the comparison with the ledger. Reads alone,
 * in one snapshot.
 */
import type pg from "pg";
import { equalBytes } from "@sigil/core/bytes";
import { projectionMaintenanceMs } from "../../limits.ts";
import type { Difference, StoredRows } from "../compare.ts";
import type { Digests } from "../digest.ts";
import { formatPeaks } from "../peaks.ts";
import type { Rows } from "../rows.ts";
import { appendedNames, appendedTables, type AppendedTable, type Row, type Table } from "../tables.ts";
import { guarded } from "./connect.ts";
import { dataSchema, quoted } from "./schema.ts";
import { withheldBy } from "../withheld.ts";
import { erasuresOf } from "./withheld.ts";

/** Times as milliseconds, exact; every other type as its parser gives it. */
const selection = ({ columns }: Table): string =>
  Object.entries(columns)
    .map(([name, type]) =>
      type === "timestamptz"
        ? `(extract(epoch FROM ${quoted(name)}) * 1000)::bigint AS ${quoted(name)}`
        : quoted(name),
    )
    .join(", ");

/** As `rowsOf` gives them: numbers where the record has numbers. */
const asCells = ({ columns }: Table, row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([name, cell]) => {
      const isWhole = typeof cell === "bigint" && name !== "position" && columns[name] !== undefined;
      return [name, isWhole ? Number(cell) : cell];
    }),
  );

const readRows = async (
  client: pg.Client,
  schema: string,
  name: AppendedTable,
  [from, to]: readonly [bigint, bigint],
): Promise<readonly Row[]> => {
  const table = appendedTables[name];
  const order = table.key.map(quoted).join(", ");
  const { rows } = await client.query<Row>(
    `SELECT ${selection(table)} FROM ${schema}.${quoted(name)}
      WHERE position >= $1 AND position < $2 ORDER BY ${order}`,
    [from, to],
  );
  return rows.map((row) => asCells(table, row));
};

const read = async (client: pg.Client, schema: string, from: bigint, to: bigint): Promise<Rows> => {
  const rows: Partial<Record<AppendedTable, readonly Row[]>> = {};
  for (const name of appendedNames) rows[name] = await readRows(client, schema, name, [from, to]);
  return rows as Rows;
};

/** Heads as the versions give them, and heads as they are: what only one of the two has. */
const headDifferences = (schema: string): string => `
  WITH versions AS (
    SELECT tenant, space, id, kind, position, hash, at,
           count(*) OVER own AS versions, first_value(at) OVER own AS first_at,
           row_number() OVER (PARTITION BY tenant, space, id ORDER BY position DESC) AS age
      FROM ${schema}.record_versions WHERE NOT erased AND kind <> 'frozen_chain'
    WINDOW own AS (PARTITION BY tenant, space, id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ), expected AS (
    SELECT tenant, space, id, kind, position, hash, versions, kind = 'tombstone' AS is_ended, first_at, at AS last_at
      FROM versions WHERE age = 1
  ), found AS (
    SELECT tenant, space, id, kind, position, hash, versions, is_ended, first_at, last_at FROM ${schema}.records
  )
  SELECT position FROM (
    (SELECT * FROM expected EXCEPT ALL SELECT * FROM found) UNION ALL
    (SELECT * FROM found EXCEPT ALL SELECT * FROM expected)
  ) AS one_sided ORDER BY position LIMIT 1`;

const inspect = async (
  client: pg.Client,
  schema: string,
  digests: Digests,
): Promise<Difference | undefined> => {
  const cursor = await client.query<{ readonly peaks: Buffer }>(`SELECT peaks FROM ${schema}.cursor`);
  const peaks = formatPeaks(digests.frontier);
  if (!equalBytes(cursor.rows[0]?.peaks ?? Buffer.alloc(0), peaks)) {
    return { table: "cursor", position: undefined, rule: "its tree is not that of the places stored" };
  }
  for (const name of appendedNames) {
    const { rows } = await client.query<{ readonly count: bigint }>(
      `SELECT count(*) AS count FROM ${schema}.${quoted(name)}`,
    );
    const [count, expected] = [rows[0]?.count ?? 0n, digests.tables.get(name)?.rows ?? 0n];
    if (count !== expected) {
      return {
        table: name,
        position: undefined,
        rule: `there are ${count} rows, and the ledger gives ${expected}`,
      };
    }
  }
  const withheld = withheldBy(await erasuresOf(client, schema));
  if (withheld !== undefined) {
    const rule = `${withheld.erased} places are erased, and the ledger's erasures account for ${withheld.reported}`;
    return { table: "record_versions", position: undefined, rule };
  }
  const { rows } = await client.query<{ readonly position: bigint }>(headDifferences(schema));
  const [head] = rows;
  return head && { table: "records", position: head.position, rule: "the newest version is another one" };
};

/**
 * In one snapshot until `work` is done. @param name of the projection.
 * @throws ProjectionFault: databaseFailed; what `work` throws.
 */
export const withStoredRows = async <T>(
  client: pg.Client,
  name: string,
  work: (stored: StoredRows) => Promise<T>,
): Promise<T> => {
  const schema = quoted(dataSchema(name));
  const next = await guarded(async () => {
    await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
    await client.query(`SET LOCAL statement_timeout = ${projectionMaintenanceMs}`);
    const { rows } = await client.query<{ readonly next: bigint }>(`SELECT next FROM ${schema}.cursor`);
    return rows[0]?.next ?? 0n;
  });
  try {
    return await work({
      next,
      read: (from, to) => guarded(() => read(client, schema, from, to)),
      inspect: (digests) => guarded(() => inspect(client, schema, digests)),
    });
  } finally {
    await client.query("ROLLBACK").catch(() => {});
  }
};
