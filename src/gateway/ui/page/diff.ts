/**
 * What a proposal would change of a record, field by field: two payloads as JSON text, compared value by value at each
 * path. Pure. Lists are compared place by place; `sigil proposal` aligns them, and shows what is signed. At most
 * `linesMax` lines.
 */

export type DiffLine = {
  readonly sign: "-" | "+";
  /** For example `actions["payment.*"].risk`; empty for the payload itself. */
  readonly path: string;
  /** As JSON: text is in quotes. */
  readonly value: string;
};

export type Diff = {
  readonly lines: readonly DiffLine[];
  /** How many lines more there are. */
  readonly leftOut: number;
};

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

export const linesMax = 500;

const plainKey = /^[A-Za-z_][A-Za-z0-9_-]*$/;

const under = (path: string, key: string): string => {
  if (!plainKey.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
};

const entriesOf = (value: Json, path: string): readonly (readonly [string, Json])[] => {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.map((item: Json, at) => [`${path}[${at}]`, item]);
  return Object.entries(value).map(([key, item]) => [under(path, key), item]);
};

/** Every value that holds no others, by its path. */
const leavesOf = (value: Json): ReadonlyMap<string, string> => {
  const leaves = new Map<string, string>();
  const open: (readonly [string, Json])[] = [["", value]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [path, item] = next;
    const entries = entriesOf(item, path);
    if (entries.length === 0) leaves.set(path, JSON.stringify(item));
    open.push(...entries);
  }
  return leaves;
};

/** @param before undefined for a new record. @throws SyntaxError for what is no JSON. */
export const diffPayloads = (before: string | undefined, after: string): Diff => {
  const [old, proposed] = [before, after].map((text) =>
    text === undefined ? new Map<string, string>() : leavesOf(JSON.parse(text) as Json),
  ) as [ReadonlyMap<string, string>, ReadonlyMap<string, string>];
  const paths = [...new Set([...old.keys(), ...proposed.keys()])].toSorted();
  const lines = paths.flatMap((path): readonly DiffLine[] => {
    const [left, right] = [old.get(path), proposed.get(path)];
    if (left === right) return [];
    return [
      ...(left === undefined ? [] : [{ sign: "-", path, value: left } as const]),
      ...(right === undefined ? [] : [{ sign: "+", path, value: right } as const]),
    ];
  });
  return { lines: lines.slice(0, linesMax), leftOut: Math.max(0, lines.length - linesMax) };
};
