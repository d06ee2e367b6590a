/**
 * The schema of a projection in PostgreSQL: tables out of their description, and the views that people read. Tables lie
 * in `<name>_v<version>`, views in `<name>`: another version is built beside the one in use, and the views are turned
 * to it in one transaction. Views only ever gain columns, at their end.
 */
import { appendedNames, appendedTables, heads, type AppendedTable, type Table } from "../tables.ts";

const schemaVersion = 1;

/** What tables of a projection are called; a name that needs no quotes, with room for the suffix. */
export const schemaNameShape = /^[a-z_][a-z0-9_]{0,40}$/;

export const dataSchema = (name: string): string => `${name}_v${schemaVersion}`;
/** Where a rebuild is filled, beside what it replaces. */
export const nextSchema = (name: string): string => `${dataSchema(name)}_next`;

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

const columnLines = ({ columns, nullable, key }: Table): readonly string[] => [
  ...Object.entries(columns).map(
    ([name, type]) => `${quoted(name)} ${type}${nullable.includes(name) ? "" : " NOT NULL"}`,
  ),
  `PRIMARY KEY (${key.map(quoted).join(", ")})`,
];

const createTable = (schema: string, name: string, table: Table): string =>
  `CREATE TABLE ${quoted(schema)}.${quoted(name)} (${columnLines(table).join(", ")})`;

const tablesByName: Readonly<Record<string, Table>> = { ...appendedTables, records: heads };

/** Everything but the indexes, which are made once it is filled. */
export const createSchema = (schema: string): readonly string[] => [
  `CREATE SCHEMA ${quoted(schema)}`,
  ...Object.entries(tablesByName).map(([name, table]) => createTable(schema, name, table)),
  `CREATE TABLE ${quoted(schema)}.cursor (
     one boolean PRIMARY KEY DEFAULT true CHECK (one),
     genesis bytea NOT NULL, next bigint NOT NULL, peaks bytea NOT NULL,
     checkpoint text, is_ready boolean NOT NULL, updated_at timestamptz NOT NULL)`,
  `CREATE TABLE ${quoted(schema)}.lanes (lane text PRIMARY KEY, position bigint NOT NULL)`,
];

/** The columns of an index, "a, b": plain names. */
const indexName = (table: string, columns: string): string => `${table}_${columns.replaceAll(", ", "_")}_idx`;

export const createIndexes = (schema: string): readonly string[] =>
  Object.entries(tablesByName).flatMap(([name, { indexes }]) =>
    indexes.map(
      (columns) =>
        `CREATE INDEX IF NOT EXISTS ${quoted(indexName(name, columns))} ` +
        `ON ${quoted(schema)}.${quoted(name)} (${columns.split(", ").map(quoted).join(", ")})`,
    ),
  );

/** By name: what it selects from the tables of a schema. */
const views: Readonly<Record<string, (schema: string) => string>> = {
  record_versions: (schema) => `SELECT * FROM ${schema}.record_versions`,
  records: (schema) =>
    `SELECT h.tenant, h.space, h.id, h.kind, h.position, h.hash, h.versions, h.is_ended, h.first_at, h.last_at,
            v.schema_version, v.payload, v.witnesses
       FROM ${schema}.records h JOIN ${schema}.record_versions v USING (position)`,
  links: (schema) =>
    `SELECT l.position, l.index, l.tenant, l.label, l.target,
            t.position AS target_position, t.tenant AS target_tenant, t.space AS target_space, t.id AS target_id,
            t.kind AS target_kind
       FROM ${schema}.links l LEFT JOIN ${schema}.record_versions t ON t.hash = l.target`,
  decisions: (schema) => `SELECT * FROM ${schema}.decisions`,
  proposals: (schema) =>
    `SELECT p.*, e.outcome, e.at AS ended_at, e.reason AS ending_reason,
            (SELECT count(*) FROM ${schema}.attestations a WHERE a.proposal = p.id AND a.role = 'approve') AS approvals,
            (SELECT count(*) FROM ${schema}.attestations a WHERE a.proposal = p.id AND a.role = 'reject') AS rejections
       FROM ${schema}.proposals p LEFT JOIN ${schema}.proposal_endings e ON e.proposal = p.id`,
  attestations: (schema) => `SELECT * FROM ${schema}.attestations`,
  module_runs: (schema) => `SELECT * FROM ${schema}.module_runs`,
  erasures: (schema) =>
    `SELECT o.position, o.at, o.payload->>'tenant' AS tenant, o.payload->>'reason' AS reason,
            r.position AS reported_position, (r.payload->>'records')::numeric AS erased_records
       FROM ${schema}.record_versions o
       LEFT JOIN ${schema}.record_versions r
         ON r.kind = 'erased' AND r.space = 'system' AND r.payload->>'tenant' = o.payload->>'tenant'
      WHERE o.kind = 'erasure' AND o.space = 'system'`,
  status: (schema) => `SELECT next, checkpoint, updated_at FROM ${schema}.cursor`,
};

const viewNames: readonly string[] = Object.keys(views);

/** In one transaction with whatever becomes of the schema before. */
export const turnViews = (name: string, schema: string): readonly string[] => [
  `CREATE SCHEMA IF NOT EXISTS ${quoted(name)}`,
  ...Object.entries(views).map(
    ([view, select]) => `CREATE OR REPLACE VIEW ${quoted(name)}.${quoted(view)} AS ${select(quoted(schema))}`,
  ),
];

/** What a role that only reads may. */
export const grantReading = (name: string, role: string): readonly string[] => [
  `GRANT USAGE ON SCHEMA ${quoted(name)} TO ${quoted(role)}`,
  ...viewNames.map((view) => `GRANT SELECT ON ${quoted(name)}.${quoted(view)} TO ${quoted(role)}`),
];

/** Tables that hold rows of a tenant, which go with it: children first. */
export const tenantTables: readonly (AppendedTable | "records")[] = [
  ...appendedNames.filter((name) => name !== "record_versions"),
  "records",
];

/** What is null in a place whose tenant was erased. */
export const erasedColumns: readonly string[] = appendedTables.record_versions.nullable;
