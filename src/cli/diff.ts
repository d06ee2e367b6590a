/**
 * What changes between two payloads, field by field, for people who are about to sign. Pure. Nothing is left out and no
 * two different values look alike: text is quoted, bytes are named as such. At most one line an entry of either payload;
 * lists are aligned over `alignedPairsMax` pairs, longer ones compared place by place.
 */
import { toHex, toBase64 } from "../record/bytes.ts";
import type { CborMap, CborValue } from "../record/cbor.ts";
import { portableSha256 } from "../record/hash.ts";
import { visibleJson } from "./json-text.ts";

export type DiffLine = {
  readonly sign: "-" | "+";
  /** For example `actions["payment.*"].risk` or `witnesses[2]`; empty for the payload itself. */
  readonly path: string;
  readonly value: string;
};

/** How bytes are shown at a path; null leaves it to the diff. */
export type ShowBytes = (path: string, bytes: Uint8Array) => string | null;

const alignedPairsMax = 1_000_000;
/** Longer byte strings are named by their hash. */
const shownBytesMax = 64;

const plainKey = /^[A-Za-z_][A-Za-z0-9_-]*$/;

const quoted = (text: string): string => visibleJson(JSON.stringify(text));

const under = (path: string, key: string): string => {
  if (!plainKey.test(key)) return `${path}[${quoted(key)}]`;
  return path === "" ? key : `${path}.${key}`;
};

const isList = (value: CborValue): value is readonly CborValue[] => Array.isArray(value);

const isMap = (value: CborValue): value is CborMap =>
  typeof value === "object" && value !== null && !isList(value) && !(value instanceof Uint8Array);

const defaultBytes = (bytes: Uint8Array): string =>
  bytes.length <= shownBytesMax
    ? `bytes ${toBase64(bytes)}`
    : `${bytes.length} bytes, SHA-256 ${toHex(portableSha256(bytes))}`;

const showLeaf = (value: CborValue, path: string, showBytes: ShowBytes): string => {
  if (typeof value === "string") return quoted(value);
  if (value instanceof Uint8Array) return showBytes(path, value) ?? defaultBytes(value);
  if (isList(value)) return "[]";
  return isMap(value) ? "{}" : String(value);
};

/** A value with everything in it: two are the same exactly when these are. */
const identityOf = (value: CborValue): string => {
  if (isList(value)) return `[${value.map(identityOf).join(",")}]`;
  if (value instanceof Uint8Array) return `b${toHex(value)}`;
  if (isMap(value)) {
    const entries = Object.keys(value)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${identityOf(value[key] ?? null)}`);
    return `{${entries.join(",")}}`;
  }
  return typeof value === "string" ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
};

const whole = (
  sign: DiffLine["sign"],
  path: string,
  value: CborValue,
  showBytes: ShowBytes,
): readonly DiffLine[] => {
  if (isList(value) && value.length > 0) {
    return value.flatMap((item, at) => whole(sign, `${path}[${at}]`, item, showBytes));
  }
  if (isMap(value) && Object.keys(value).length > 0) {
    return Object.keys(value)
      .sort()
      .flatMap((key) => whole(sign, under(path, key), value[key] ?? null, showBytes));
  }
  return [{ sign, path, value: showLeaf(value, path, showBytes) }];
};

const diffMaps = (
  before: CborMap,
  after: CborMap,
  path: string,
  showBytes: ShowBytes,
): readonly DiffLine[] => {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap((key) => {
    const [left, right] = [before[key], after[key]];
    const keyPath = under(path, key);
    if (left === undefined) return right === undefined ? [] : whole("+", keyPath, right, showBytes);
    if (right === undefined) return whole("-", keyPath, left, showBytes);
    return diffAt(left, right, keyPath, showBytes);
  });
};

/** Lengths of the longest common part of what is left of either list, row by row of `before`. */
const commonLengths = (before: readonly string[], after: readonly string[]): readonly Uint32Array[] => {
  const rows = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  for (let left = before.length - 1; left >= 0; left -= 1) {
    const [row, below] = [rows[left], rows[left + 1]];
    if (row === undefined || below === undefined) continue;
    for (let right = after.length - 1; right >= 0; right -= 1) {
      row[right] =
        before[left] === after[right]
          ? (below[right + 1] ?? 0) + 1
          : Math.max(below[right] ?? 0, row[right + 1] ?? 0);
    }
  }
  return rows;
};

/** What was taken out and put in, where the rest keeps its order. */
const diffAligned = (
  before: readonly CborValue[],
  after: readonly CborValue[],
  path: string,
  showBytes: ShowBytes,
): readonly DiffLine[] => {
  const [befores, afters] = [before.map(identityOf), after.map(identityOf)];
  const lengths = commonLengths(befores, afters);
  const lines: DiffLine[] = [];
  let [left, right] = [0, 0];
  while (left < before.length || right < after.length) {
    if (left < before.length && right < after.length && befores[left] === afters[right]) {
      left += 1;
      right += 1;
      continue;
    }
    const skipLeft = lengths[left + 1]?.[right] ?? -1;
    const skipRight = lengths[left]?.[right + 1] ?? -1;
    if (left < before.length && (right >= after.length || skipLeft >= skipRight)) {
      lines.push(...whole("-", `${path}[${left}]`, before[left] ?? null, showBytes));
      left += 1;
    } else {
      lines.push(...whole("+", `${path}[${right}]`, after[right] ?? null, showBytes));
      right += 1;
    }
  }
  return lines;
};

const diffLists = (
  before: readonly CborValue[],
  after: readonly CborValue[],
  path: string,
  showBytes: ShowBytes,
): readonly DiffLine[] => {
  const isShort = before.length * after.length <= alignedPairsMax;
  if (before.length !== after.length && isShort) return diffAligned(before, after, path, showBytes);
  const places = Array.from({ length: Math.max(before.length, after.length) }, (_, at) => at);
  return places.flatMap((at) => {
    const [left, right] = [before[at], after[at]];
    const itemPath = `${path}[${at}]`;
    if (left === undefined) return right === undefined ? [] : whole("+", itemPath, right, showBytes);
    if (right === undefined) return whole("-", itemPath, left, showBytes);
    return diffAt(left, right, itemPath, showBytes);
  });
};

const diffAt = (
  before: CborValue,
  after: CborValue,
  path: string,
  showBytes: ShowBytes,
): readonly DiffLine[] => {
  if (identityOf(before) === identityOf(after)) return [];
  if (isMap(before) && isMap(after)) return diffMaps(before, after, path, showBytes);
  if (isList(before) && isList(after) && before.length > 0 && after.length > 0) {
    return diffLists(before, after, path, showBytes);
  }
  return [...whole("-", path, before, showBytes), ...whole("+", path, after, showBytes)];
};

/** @param before undefined for a new record. @returns lines in the order of the fields; none when nothing changes. */
export const diffPayloads = (
  before: CborValue | undefined,
  after: CborValue,
  showBytes: ShowBytes = () => null,
): readonly DiffLine[] =>
  before === undefined ? whole("+", "", after, showBytes) : diffAt(before, after, "", showBytes);
