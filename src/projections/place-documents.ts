/**
 * Rows as documents, for databases of documents: one a place of the ledger, with its links and what its kind has
 * columns for inside of it. What a cell becomes is the database's own rule. Pure. Source: docs/spec/projections.md
 * §3.1.
 */
import type { Rows } from "./rows.ts";
import {
  appendedNames,
  appendedTables,
  type AppendedTable,
  type Cell,
  type ColumnType,
  type Row,
  type Table,
} from "./tables.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** Between cells and a database's values. What a projection never writes must come back as no cell of a record. */
export type CellRule = {
  /** @param cell not null. */
  readonly toValue: (type: ColumnType, cell: Cell) => unknown;
  /** @param value undefined where there is none. */
  readonly toCell: (name: string, type: ColumnType, value: unknown) => Cell;
};

/** What is null is left out. */
export const toFields = (
  { columns }: Table,
  row: Row,
  { toValue }: CellRule,
  without: readonly string[] = [],
): Fields =>
  Object.fromEntries(
    Object.entries(columns).flatMap(([name, type]) => {
      const cell = row[name] ?? null;
      return cell === null || without.includes(name) ? [] : [[name, toValue(type, cell)]];
    }),
  );

export const toRow = ({ columns }: Table, fields: Fields, { toCell }: CellRule): Row =>
  Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, toCell(name, type, fields[name])]));

/** Tables of kinds, and the field of a document in which a row of theirs stands. */
const kindFields = {
  decisions: "decision",
  proposals: "proposal",
  proposal_endings: "proposal_ending",
  attestations: "attestation",
  module_runs: "module_run",
} as const satisfies Readonly<Partial<Record<AppendedTable, string>>>;

export const kindTables = Object.entries(kindFields) as readonly (readonly [
  keyof typeof kindFields,
  string,
])[];

/** What a row of a kind has from the place it stands at, beside the columns of its own. */
export const placeColumns: readonly string[] = ["position", "tenant", "id", "at"];
const linkColumns = ["position", "tenant", "index"];

/** 20 digits: in the order of positions. */
export const placeId = (position: bigint): string => String(position).padStart(20, "0");

const byPosition = (rows: readonly Row[]): ReadonlyMap<Row[string], readonly Row[]> =>
  Map.groupBy(rows, ({ position }) => position as Row[string]);

/** Of each place, in order. */
export const placeDocuments = (rows: Rows, rule: CellRule): readonly Fields[] => {
  const links = byPosition(rows.links);
  const kinds = kindTables.map(([table, field]) => ({ table, field, rows: byPosition(rows[table]) }));
  return rows.record_versions.map((row) => {
    const position = row["position"] as bigint;
    const own = links.get(position) ?? [];
    return {
      ...toFields(appendedTables.record_versions, row, rule),
      ...(own.length === 0
        ? {}
        : { links: own.map((link) => toFields(appendedTables.links, link, rule, linkColumns)) }),
      ...Object.fromEntries(
        kinds.flatMap(({ table, field, rows: ofKind }) =>
          (ofKind.get(position) ?? []).map((each) => [
            field,
            toFields(appendedTables[table], each, rule, placeColumns),
          ]),
        ),
      ),
    };
  });
};

const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};

/** The rows that documents were made of, each table in its order. @param documents in the order of positions. */
export const rowsOfPlaces = (documents: readonly Fields[], rule: CellRule): Rows => {
  const rows = Object.fromEntries(appendedNames.map((name) => [name, [] as Row[]])) as Record<
    AppendedTable,
    Row[]
  >;
  for (const document of documents) {
    const place = Object.fromEntries(placeColumns.map((name) => [name, document[name]]));
    rows.record_versions.push(toRow(appendedTables.record_versions, document, rule));
    const links: readonly unknown[] = Array.isArray(document["links"]) ? document["links"] : [];
    for (const [index, link] of links.entries()) {
      rows.links.push(toRow(appendedTables.links, { ...fieldsOf(link), ...place, index }, rule));
    }
    for (const [table, field] of kindTables) {
      const own = document[field];
      if (own !== undefined)
        rows[table].push(toRow(appendedTables[table], { ...fieldsOf(own), ...place }, rule));
    }
  }
  return rows;
};
