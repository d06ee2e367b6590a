/**
 * Cells and JSON as attributes of DynamoDB, by a rule that loses nothing, so a comparison reads the same text back.
 * Numbers of DynamoDB have 38 digits between 1e-130 and 1e126 and no sign of zero; no key is empty. Source:
 * docs/spec/projections.md §3.2.
 */
import type { CellRule, Fields } from "../place-documents.ts";
import type { Cell, ColumnType } from "../tables.ts";

/** Longer JSON text stands as text: as a tree it might pass the 400 KB that an item may have. In UTF-16 units. */
const treeTextMax = 32 << 10;

const numberKey = "%number";
const textKey = "%json";

/** Not empty, and not what sets the prototype of an object instead of a key. Injective. */
const escapeKey = (key: string): string => {
  if (key === "") return "%";
  return key === "__proto__" ? "%5F_proto__" : key.replaceAll("%", "%25");
};

const unescapeKey = (key: string): string => {
  if (key === "%") return "";
  return key === "%5F_proto__" ? "__proto__" : key.replaceAll("%25", "%");
};

const holds = (number: number): boolean =>
  number === 0 ? !Object.is(number, -0) : Math.abs(number) >= 1e-130 && Math.abs(number) < 1e126;

/** As text in a map of its own where DynamoDB has no such number. */
const toNumber = (number: number): unknown =>
  holds(number) ? number : { [numberKey]: Object.is(number, -0) ? "-0" : String(number) };

const isMap = (value: unknown): value is Fields =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array) &&
  !(value instanceof Set);

/** @returns undefined for what is no number of ours. */
const fromNumber = (value: unknown): number | undefined => {
  if (typeof value === "number" || typeof value === "bigint") return Number(value);
  if (!isMap(value) || Object.keys(value).length !== 1) return undefined;
  const text = value[numberKey];
  return typeof text === "string" ? Number(text) : undefined;
};

/** Maps, since the SDK asks a plain object for its constructor, which may be a key of it. */
const toTree = (value: unknown): unknown => {
  if (typeof value === "number") return toNumber(value);
  if (Array.isArray(value)) return value.map(toTree);
  if (typeof value !== "object" || value === null) return value;
  return new Map(Object.entries(value).map(([key, entry]) => [escapeKey(key), toTree(entry)]));
};

/** What the rule never writes becomes something that no JSON of the ledger is. */
const fromTree = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(fromTree);
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  const number = fromNumber(value);
  if (number !== undefined) return number;
  if (!isMap(value)) return { "%dynamo": typeof value };
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [unescapeKey(key), fromTree(entry)]));
};

/** @param json text of a view. */
export const formatTree = (json: string): unknown =>
  json.length > treeTextMax ? { [textKey]: json } : toTree(JSON.parse(json));

/** @returns JSON text. */
export const parseTree = (tree: unknown): string => {
  const text = isMap(tree) ? tree[textKey] : undefined;
  return typeof text === "string" ? text : JSON.stringify(fromTree(tree));
};

const toValue = (type: ColumnType, cell: Cell): unknown => {
  switch (type) {
    case "bigint":
      return BigInt(cell as bigint | number);
    case "double precision":
      return toNumber(Number(cell));
    case "jsonb":
      return formatTree(String(cell));
    case "boolean":
    case "bytea":
    case "integer":
    case "text":
    case "timestamptz":
      return cell;
  }
};

const toCell = (name: string, type: ColumnType, value: unknown): Cell => {
  if (value === undefined) return null;
  // JSON has a null of its own.
  if (type === "jsonb") return parseTree(value);
  if (value === null) return null;
  const number = fromNumber(value);
  // As `rowsOf` gives them: numbers where the record has numbers.
  if (number !== undefined) {
    return name === "position" && Number.isInteger(number) ? BigInt(value as bigint | number) : number;
  }
  if (value instanceof Uint8Array || typeof value === "boolean" || typeof value === "string") return value;
  // Nothing that a projection writes, and so nothing that a column has.
  return `\0${typeof value}`;
};

export const cellRule: CellRule = { toValue, toCell };

/** What `unmarshall` makes of a number: exact where a double is not. */
export const readNumber = (text: string): number | bigint => {
  const number = Number(text);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(text) ? number : BigInt(text);
};

const sumOf = (values: readonly unknown[]): number =>
  values.reduce<number>((sum, value) => sum + 1 + attributeBytes(value), 3);

/** As DynamoDB counts, and a little more. */
export const attributeBytes = (value: unknown): number => {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (value instanceof Uint8Array) return value.length;
  if (typeof value === "number" || typeof value === "bigint") return 21;
  if (Array.isArray(value)) return sumOf(value);
  if (value instanceof Map) return sumOf([...value.keys(), ...value.values()]);
  return typeof value === "object" && value !== null
    ? sumOf([...Object.keys(value), ...Object.values(value)])
    : 1;
};
