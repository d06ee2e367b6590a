/**
 * Rows as documents: one a place of the ledger, with its links and what its kind has columns for inside of it, and one
 * a newest version. JSON stands as a document by a rule that loses nothing, so a comparison reads the same text back.
 * Source: docs/spec/projections.md §3.1.
 */
import { Double, Long, type Document } from "mongodb";
import { headName, type Rows } from "../rows.ts";
import {
  kindTables,
  placeColumns,
  placeDocuments,
  placeId,
  rowsOfPlaces,
  toFields,
  toRow,
  type CellRule,
} from "../place-documents.ts";
import { appendedTables, heads, type Cell, type ColumnType, type Row } from "../tables.ts";

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

const rule: CellRule = { toValue, toCell };

/** Of each place, in order. */
export const mongoDocuments = (rows: Rows): readonly Document[] =>
  placeDocuments(rows, rule).map((fields, at) => ({
    _id: placeId(rows.record_versions[at]?.["position"] as bigint),
    ...fields,
  }));

/** @param documents in the order of positions. */
export const rowsOfDocuments = (documents: readonly Document[]): Rows => rowsOfPlaces(documents, rule);

/** What a place whose tenant was erased has no longer. */
export const erasedFields: readonly string[] = [
  ...appendedTables.record_versions.nullable,
  "links",
  ...kindTables.map(([, field]) => field),
];

export const headDocument = (row: Row): Document => ({ _id: headName(row), ...toFields(heads, row, rule) });

export const headRow = (document: Document): Row => toRow(heads, document, rule);

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
