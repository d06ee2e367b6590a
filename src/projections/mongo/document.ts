/**
 * Rows as documents: one a place of the ledger, with its links and what its kind has columns for inside of it, and one
 * a newest version. JSON stands as a document by a rule that loses nothing, so a comparison reads the same text back.
 * Source: docs/spec/projections.md §3.1.
 */
import { Double, Long, type Document } from "mongodb";
import { headName, type Rows } from "../rows.ts";
import {
  appendedNames,
  appendedTables,
  heads,
  type AppendedTable,
  type Cell,
  type ColumnType,
  type Row,
  type Table,
} from "../tables.ts";

/** Longer JSON text stands as text: as a document it might pass the 16 MB that one may have. In UTF-16 units. */
const treeTextMax = 512 << 10;

const arrayKey = "%array";
const textKey = "%json";

const escapes: Readonly<Record<string, string>> = { "%": "%25", ".": "%2E", $: "%24", _: "%5F" };
const unescapes = new Map(Object.entries(escapes).map(([character, escaped]) => [escaped, character]));

/** No dot, no dollar sign in front, not empty, and not what marks a BSON type for the driver. Injective. */
const escapeKey = (key: string): string =>
  key === "" ? "%" : key.replaceAll(/[%.]|^\$|^_(?=bsontype$)/g, (found) => escapes[found] ?? found);

const unescapeKey = (key: string): string =>
  key === "%" ? "" : key.replaceAll(/%(?:25|2E|24|5F)/g, (found) => unescapes.get(found) ?? found);

const toTree = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    return value.map((item: unknown) => (Array.isArray(item) ? { [arrayKey]: toTree(item) } : toTree(item)));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [escapeKey(key), toTree(entry)]));
};

/** What the rule never writes becomes something that no JSON of the ledger is. */
const fromTree = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(fromTree);
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) return value;
  if (typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) {
    return { "%bson": typeof value };
  }
  const entries = Object.entries(value);
  const [first, ...others] = entries;
  if (first?.[0] === arrayKey && others.length === 0) return fromTree(first[1]);
  return Object.fromEntries(entries.map(([key, entry]) => [unescapeKey(key), fromTree(entry)]));
};

/** @param json text of a view. */
export const formatTree = (json: string): unknown =>
  json.length > treeTextMax ? { [textKey]: json } : toTree(JSON.parse(json));

/** @returns JSON text. */
export const parseTree = (tree: unknown): string => {
  const text = typeof tree === "object" && tree !== null && textKey in tree ? tree[textKey] : undefined;
  return typeof text === "string" ? text : JSON.stringify(fromTree(tree));
};

const toValue = (type: ColumnType, cell: Cell): unknown => {
  switch (type) {
    case "bigint":
      return Long.fromBigInt(BigInt(cell as bigint | number));
    case "double precision":
      return new Double(Number(cell));
    case "jsonb":
      return formatTree(String(cell));
    case "timestamptz":
      return new Date(Number(cell));
    case "boolean":
    case "bytea":
    case "integer":
    case "text":
      return cell;
  }
};

const toCell = (name: string, type: ColumnType, value: unknown): Cell => {
  if (value === undefined) return null;
  // JSON has a null of its own.
  if (type === "jsonb") return parseTree(value);
  if (value === null) return null;
  if (type === "timestamptz" && value instanceof Date) return value.getTime();
  // As `rowsOf` gives them: numbers where the record has numbers.
  if (typeof value === "bigint") return name === "position" ? value : Number(value);
  if (value instanceof Uint8Array || ["number", "boolean", "string"].includes(typeof value)) {
    return value as Cell;
  }
  // Nothing that a projection writes, and so nothing that a column has.
  return `\0${typeof value}`;
};

/** What is null is left out. */
const toFields = ({ columns }: Table, row: Row, without: readonly string[] = []): Document =>
  Object.fromEntries(
    Object.entries(columns).flatMap(([name, type]) => {
      const cell = row[name] ?? null;
      return cell === null || without.includes(name) ? [] : [[name, toValue(type, cell)]];
    }),
  );

const toRow = ({ columns }: Table, fields: Document): Row =>
  Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, toCell(name, type, fields[name])]));

/** Tables of kinds, and the field of a document in which a row of theirs stands. */
const kindFields = {
  decisions: "decision",
  proposals: "proposal",
  proposal_endings: "proposal_ending",
  attestations: "attestation",
  module_runs: "module_run",
} as const satisfies Readonly<Partial<Record<AppendedTable, string>>>;

const kindTables = Object.entries(kindFields) as readonly (readonly [keyof typeof kindFields, string])[];

/** What a row of a kind has from the place it stands at, beside the columns of its own. */
const placeColumns = ["position", "tenant", "id", "at"];
const linkColumns = ["position", "tenant", "index"];

/** 20 digits: in the order of positions. */
export const placeId = (position: bigint): string => String(position).padStart(20, "0");

const byPosition = (rows: readonly Row[]): ReadonlyMap<Row[string], readonly Row[]> =>
  Map.groupBy(rows, ({ position }) => position as Row[string]);

/** Of each place, in order. */
export const placeDocuments = (rows: Rows): readonly Document[] => {
  const links = byPosition(rows.links);
  const kinds = kindTables.map(([table, field]) => ({ table, field, rows: byPosition(rows[table]) }));
  return rows.record_versions.map((row) => {
    const position = row["position"] as bigint;
    const own = links.get(position) ?? [];
    return {
      _id: placeId(position),
      ...toFields(appendedTables.record_versions, row),
      ...(own.length === 0
        ? {}
        : { links: own.map((link) => toFields(appendedTables.links, link, linkColumns)) }),
      ...Object.fromEntries(
        kinds.flatMap(({ table, field, rows: ofKind }) =>
          (ofKind.get(position) ?? []).map((each) => [
            field,
            toFields(appendedTables[table], each, placeColumns),
          ]),
        ),
      ),
    };
  });
};

const fieldsOf = (value: unknown): Document =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};

/** The rows that documents were made of, each table in its order. @param documents in the order of positions. */
export const rowsOfPlaces = (documents: readonly Document[]): Rows => {
  const rows = Object.fromEntries(appendedNames.map((name) => [name, [] as Row[]])) as Record<
    AppendedTable,
    Row[]
  >;
  for (const document of documents) {
    const place = Object.fromEntries(placeColumns.map((name) => [name, document[name] as unknown]));
    rows.record_versions.push(toRow(appendedTables.record_versions, document));
    const links: readonly unknown[] = Array.isArray(document["links"]) ? document["links"] : [];
    for (const [index, link] of links.entries()) {
      rows.links.push(toRow(appendedTables.links, { ...fieldsOf(link), ...place, index }));
    }
    for (const [table, field] of kindTables) {
      const own: unknown = document[field];
      if (own !== undefined) rows[table].push(toRow(appendedTables[table], { ...fieldsOf(own), ...place }));
    }
  }
  return rows;
};

/** What a place whose tenant was erased has no longer. */
export const erasedFields: readonly string[] = [
  ...appendedTables.record_versions.nullable,
  "links",
  ...Object.values(kindFields),
];

export const headDocument = (row: Row): Document => ({ _id: headName(row), ...toFields(heads, row) });

export const headRow = (document: Document): Row => toRow(heads, document);

export type IndexKeys = Readonly<Record<string, 1>>;

const keysOf = (columns: string, pathOf: (column: string) => string): IndexKeys =>
  Object.fromEntries(columns.split(", ").map((column) => [pathOf(column), 1 as const]));

/** For the questions of docs/guides/queries-mongo.md; what is on columns of the place alone stands there once. */
export const placeIndexes: readonly IndexKeys[] = [
  ...appendedTables.record_versions.indexes.map((columns) => keysOf(columns, (column) => column)),
  { "links.target": 1 },
  ...kindTables.flatMap(([table, field]) =>
    appendedTables[table].indexes
      .filter((columns) => !columns.split(", ").every((column) => placeColumns.includes(column)))
      .map((columns) =>
        keysOf(columns, (column) => (placeColumns.includes(column) ? column : `${field}.${column}`)),
      ),
  ),
];

export const headIndexes: readonly IndexKeys[] = [heads.key.join(", "), ...heads.indexes].map((columns) =>
  keysOf(columns, (column) => column),
);
