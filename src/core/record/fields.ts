/**
 * Reads fields of a decoded map against a schema. Pure. Errors are malformedRecord with the field's dotted path, which
 * is built only on error.
 */
import {
  parseHash,
  parseMldsa44PublicKey,
  parsePublicKey,
  type Hash,
  type Mldsa44PublicKey,
  type PublicKey,
} from "../bytes.ts";
import type { CborMap, CborValue } from "../cbor/cbor.ts";
import { fail } from "../errors.ts";
import { cborEntriesMax } from "../limits.ts";

export const refuseField = (path: string, name: string, rule: string): never =>
  fail({ kind: "malformedRecord", field: path === "" ? name : name === "" ? path : `${path}.${name}`, rule });

const isMap = (value: CborValue | undefined): value is CborMap =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** A map of any keys. `path` names the map itself. */
export const anyMap = (value: CborValue | undefined, path: string): CborMap =>
  isMap(value) ? value : refuseField(path, "", value === undefined ? "is missing" : "must be a map");

/** A map with exactly these keys. */
export const exactMap = (value: CborValue | undefined, path: string, keys: readonly string[]): CborMap => {
  const map = anyMap(value, path);
  let found = 0;
  for (const key of keys) {
    if (map[key] === undefined) refuseField(path, key, "is missing");
    found += 1;
  }
  const names = Object.keys(map);
  if (names.length !== found) {
    refuseField(path, names.find((name) => !keys.includes(name)) ?? "", "is not a field of this kind");
  }
  return map;
};

/** A map with all of `keys`, and any of `optional`. */
export const mapOf = (
  value: CborValue | undefined,
  path: string,
  keys: readonly string[],
  optional: readonly string[],
): CborMap => {
  const map = anyMap(value, path);
  const present = optional.filter((key) => map[key] !== undefined);
  return exactMap(map, path, present.length === 0 ? keys : [...keys, ...present]);
};

/** Text of 1 to `unitsMax` UTF-16 units. */
export const textField = (map: CborMap, path: string, name: string, unitsMax = Infinity): string => {
  const value = map[name];
  if (typeof value !== "string") return refuseField(path, name, "must be text");
  if (value === "") return refuseField(path, name, "must not be empty");
  return value.length <= unitsMax ? value : refuseField(path, name, `must be at most ${unitsMax} characters`);
};

export const anyTextField = (map: CborMap, path: string, name: string): string => {
  const value = map[name];
  return typeof value === "string" ? value : refuseField(path, name, "must be text");
};

export const oneOfField = <Choice extends string>(
  map: CborMap,
  path: string,
  name: string,
  choices: readonly Choice[],
): Choice => {
  const value = map[name];
  for (const choice of choices) if (choice === value) return choice;
  return refuseField(path, name, `must be one of ${choices.join(", ")}`);
};

export const booleanField = (map: CborMap, path: string, name: string): boolean => {
  const value = map[name];
  return typeof value === "boolean" ? value : refuseField(path, name, "must be true or false");
};

/** A JavaScript number; integers beyond 2^53-1 are refused, since arithmetic on them is inexact. */
export const numberField = (map: CborMap, path: string, name: string): number => {
  const value = map[name];
  return typeof value === "number" && Number.isFinite(value)
    ? value
    : refuseField(path, name, "must be a number");
};

export const numberOrNullField = (map: CborMap, path: string, name: string): number | null =>
  map[name] === null ? null : numberField(map, path, name);

/** A number in [0, 1]. */
export const shareField = (map: CborMap, path: string, name: string): number => {
  const value = numberField(map, path, name);
  return value >= 0 && value <= 1 ? value : refuseField(path, name, "must be from 0 to 1");
};

/** An integer from `min` to `max`, by default any safe integer. */
export const uintField = (
  map: CborMap,
  path: string,
  name: string,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): number => {
  const value = map[name];
  return typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max
    ? value
    : refuseField(path, name, `must be an integer from ${min} to ${max}`);
};

/** A ledger position or another 64-bit count. */
export const uint64Field = (map: CborMap, path: string, name: string): bigint => {
  const value = map[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  return typeof value === "bigint" && value >= 0n && value < 2n ** 64n
    ? value
    : refuseField(path, name, "must be an integer from 0 to 2^64-1");
};

export const bytesField = (map: CborMap, path: string, name: string): Uint8Array => {
  const value = map[name];
  return value instanceof Uint8Array ? value : refuseField(path, name, "must be a byte string");
};

export const hashField = (map: CborMap, path: string, name: string): Hash => {
  const value = bytesField(map, path, name);
  return value.length === 32 ? parseHash(value) : refuseField(path, name, "must be 32 bytes");
};

export const hashOrNullField = (map: CborMap, path: string, name: string): Hash | null =>
  map[name] === null ? null : hashField(map, path, name);

export const publicKeyField = (map: CborMap, path: string, name: string): PublicKey => {
  const value = bytesField(map, path, name);
  return value.length === 32 ? parsePublicKey(value) : refuseField(path, name, "must be 32 bytes");
};

export const mldsa44PublicKeyField = (map: CborMap, path: string, name: string): Mldsa44PublicKey => {
  const value = bytesField(map, path, name);
  return value.length === 1312
    ? parseMldsa44PublicKey(value)
    : refuseField(path, name, "must be 1,312 bytes");
};

/** A list, each item read with the path `path.name[index]`. */
export const listField = <Item>(
  map: CborMap,
  path: string,
  name: string,
  read: (item: CborValue, itemPath: string) => Item,
  itemsMax: number = cborEntriesMax,
): readonly Item[] => {
  const value = map[name];
  if (!Array.isArray(value)) return refuseField(path, name, "must be a list");
  const items = value as readonly CborValue[];
  if (items.length > itemsMax) return refuseField(path, name, `must have at most ${itemsMax} items`);
  const listPath = path === "" ? name : `${path}.${name}`;
  return items.map((item, index) => read(item, `${listPath}[${index}]`));
};

/** A map from text to the result of `read` for each entry. The result has no prototype. */
export const tableField = <Entry>(
  map: CborMap,
  path: string,
  name: string,
  read: (table: CborMap, tablePath: string, key: string) => Entry,
): Readonly<Record<string, Entry>> => {
  const tablePath = path === "" ? name : `${path}.${name}`;
  const source = anyMap(map[name], tablePath);
  const table = Object.create(null) as Record<string, Entry>;
  for (const key of Object.keys(source)) table[key] = read(source, tablePath, key);
  return table;
};

export const textItem = (item: CborValue, path: string): string =>
  typeof item === "string" && item !== "" ? item : refuseField(path, "", "must be non-empty text");

export const publicKeyItem = (item: CborValue, path: string): PublicKey =>
  item instanceof Uint8Array && item.length === 32
    ? parsePublicKey(item)
    : refuseField(path, "", "must be a byte string of 32 bytes");

/** Refuses a list with duplicate names. */
export const distinct = (names: readonly string[], path: string, rule: string): void => {
  if (new Set(names).size !== names.length) refuseField(path, "", rule);
};
