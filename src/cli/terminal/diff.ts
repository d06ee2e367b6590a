/**
 * Diffs two payloads field by field, for review before signing. Pure. Complete and unambiguous: text is quoted, bytes
 * are marked as such. At most one line per entry of either payload; lists are aligned up to `alignedPairsMax` pairs,
 * longer ones compared by index.
 */
import { sha256 } from "@sigil/core/hash";
import { toHex, toBase64 } from "@sigil/core/bytes";
import type { CborMap, CborValue } from "@sigil/core/cbor";
import { shownText } from "./shown-text.ts";

export type DiffLine = {
  readonly sign: "-" | "+";
  /** For example `actions["payment.*"].risk` or `witnesses[2]`; empty for the payload itself. */
  readonly path: string;
  readonly value: string;
};

export type Showing = {
  /** Formats bytes at a path; null for the default format. */
  readonly bytes: (path: string, bytes: Uint8Array) => string | null;
  /** Formats text and keys: quoted and injective. */
  readonly text: (text: string) => string;
};

const alignedPairsMax = 1_000_000;
/** Longer byte strings are shown by their hash. */
const shownBytesMax = 64;

const plainKey = /^[A-Za-z_][A-Za-z0-9_-]*$/;

const under = (path: string, key: string, showing: Showing): string => {
  const shown = showing.text(key);
  // A key with a remark is shown in quotes.
  if (!plainKey.test(key) || shown !== `"${key}"`) return `${path}[${shown}]`;
  return path === "" ? key : `${path}.${key}`;
};

const isList = (value: CborValue): value is readonly CborValue[] => Array.isArray(value);

const isMap = (value: CborValue): value is CborMap =>
  typeof value === "object" && value !== null && !isList(value) && !(value instanceof Uint8Array);

const defaultBytes = (bytes: Uint8Array): string =>
  bytes.length <= shownBytesMax
    ? `bytes ${toBase64(bytes)}`
    : `${bytes.length} bytes, SHA-256 ${toHex(sha256(bytes))}`;

const showLeaf = (value: CborValue, path: string, showing: Showing): string => {
  if (typeof value === "string") return showing.text(value);
  if (value instanceof Uint8Array) return showing.bytes(path, value) ?? defaultBytes(value);
  if (isList(value)) return "[]";
  return isMap(value) ? "{}" : String(value);
};

/** A canonical string of a value: equal exactly if the values are. */
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
  showing: Showing,
): readonly DiffLine[] => {
  if (isList(value) && value.length > 0) {
    return value.flatMap((item, at) => whole(sign, `${path}[${at}]`, item, showing));
  }
  if (isMap(value) && Object.keys(value).length > 0) {
    return Object.keys(value)
      .sort()
      .flatMap((key) => whole(sign, under(path, key, showing), value[key] ?? null, showing));
  }
  return [{ sign, path, value: showLeaf(value, path, showing) }];
};

const diffMaps = (before: CborMap, after: CborMap, path: string, showing: Showing): readonly DiffLine[] => {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap((key) => {
    const [left, right] = [before[key], after[key]];
    const keyPath = under(path, key, showing);
    if (left === undefined) return right === undefined ? [] : whole("+", keyPath, right, showing);
    if (right === undefined) return whole("-", keyPath, left, showing);
    return diffAt(left, right, keyPath, showing);
  });
};

/** The LCS length table of the suffixes of both lists. */
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

/** Insertions and deletions between two lists. */
const diffAligned = (
  before: readonly CborValue[],
  after: readonly CborValue[],
  path: string,
  showing: Showing,
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
      lines.push(...whole("-", `${path}[${left}]`, before[left] ?? null, showing));
      left += 1;
    } else {
      lines.push(...whole("+", `${path}[${right}]`, after[right] ?? null, showing));
      right += 1;
    }
  }
  return lines;
};

const diffLists = (
  before: readonly CborValue[],
  after: readonly CborValue[],
  path: string,
  showing: Showing,
): readonly DiffLine[] => {
  const isShort = before.length * after.length <= alignedPairsMax;
  if (before.length !== after.length && isShort) return diffAligned(before, after, path, showing);
  const places = Array.from({ length: Math.max(before.length, after.length) }, (_, at) => at);
  return places.flatMap((at) => {
    const [left, right] = [before[at], after[at]];
    const itemPath = `${path}[${at}]`;
    if (left === undefined) return right === undefined ? [] : whole("+", itemPath, right, showing);
    if (right === undefined) return whole("-", itemPath, left, showing);
    return diffAt(left, right, itemPath, showing);
  });
};

const diffAt = (before: CborValue, after: CborValue, path: string, showing: Showing): readonly DiffLine[] => {
  if (identityOf(before) === identityOf(after)) return [];
  if (isMap(before) && isMap(after)) return diffMaps(before, after, path, showing);
  if (isList(before) && isList(after) && before.length > 0 && after.length > 0) {
    return diffLists(before, after, path, showing);
  }
  return [...whole("-", path, before, showing), ...whole("+", path, after, showing)];
};

/** @param before undefined for a new record. @returns lines in field order; empty if nothing changes. */
export const diffPayloads = (
  before: CborValue | undefined,
  after: CborValue,
  given: Partial<Showing> = {},
): readonly DiffLine[] => {
  const showing: Showing = { bytes: () => null, text: shownText, ...given };
  return before === undefined ? whole("+", "", after, showing) : diffAt(before, after, "", showing);
};
