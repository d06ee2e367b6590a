/**
 * Glob patterns over actions and targets, and tables of them in which the most specific match wins. Source:
 * docs/spec/trust.md §2. Pure. No backtracking: one match costs at most pattern length × text length steps, even for
 * hostile input; patterns have at most `targetBytesMax` bytes.
 */
import { compareBytes, utf8Encode } from "../bytes.ts";
import { globFindsMax, targetBytesMax } from "../limits.ts";

/** One segment of a pattern: the literal pieces between its `*`, or `null` for `**`. */
type Segment = readonly string[] | null;

export type Glob = {
  readonly pattern: string;
  /** Number of literal bytes: the pattern without every `**` with its slash and every `*`. */
  readonly literalBytes: number;
  readonly stars: number;
  readonly matches: (text: string) => boolean;
};

/** @returns the rule that the pattern breaks, or null if it is valid. */
export const globFault = (pattern: string): string | null => {
  if (pattern === "") return "must not be empty";
  if (utf8Encode(pattern).length > targetBytesMax) return `must be at most ${targetBytesMax} bytes`;
  if (!pattern.isWellFormed()) return "must be well-formed text";
  if (/\p{Cc}/u.test(pattern)) return "must hold no control characters";
  const segments = pattern.split("/");
  if (segments.some((segment) => segment === "." || segment === ".."))
    return 'must hold no "." or ".." segment';
  if (segments.some((segment) => segment.includes("**") && segment !== "**")) {
    return "must have ** as a whole segment between slashes";
  }
  return null;
};

/** Greedy leftmost placement of each piece is sufficient, since `*` matches anything: no backtracking. */
const matchesSegment = (pieces: readonly string[], text: string): boolean => {
  const first = pieces[0] ?? "";
  const last = pieces.at(-1) ?? "";
  if (pieces.length === 1) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let offset = first.length;
  for (let index = 1; index < pieces.length - 1; index += 1) {
    const piece = pieces[index] ?? "";
    const found = text.indexOf(piece, offset);
    if (found < 0 || found + piece.length > end) return false;
    offset = found + piece.length;
  }
  return true;
};

/** Likewise for segments: the runs between `**` are placed leftmost, once each. */
type Run = readonly (readonly string[])[];

const runMatchesAt = (run: Run, texts: readonly string[], at: number): boolean => {
  if (at < 0 || at + run.length > texts.length) return false;
  for (let index = 0; index < run.length; index += 1) {
    if (!matchesSegment(run[index] ?? [], texts[at + index] ?? "")) return false;
  }
  return true;
};

const findRun = (run: Run, texts: readonly string[], from: number, end: number): number => {
  for (let at = from; at + run.length <= end; at += 1) if (runMatchesAt(run, texts, at)) return at;
  return -1;
};

const splitRuns = (segments: readonly Segment[]): readonly Run[] => {
  const runs: (readonly string[])[][] = [[]];
  for (const segment of segments) {
    if (segment === null) runs.push([]);
    else runs.at(-1)?.push(segment);
  }
  return runs;
};

/** @param tailSegments minimum segments for a trailing `**`: `a/**` does not match `a` itself. */
const matchesRuns = (runs: readonly Run[], texts: readonly string[], tailSegments: number): boolean => {
  const first = runs[0] ?? [];
  const last = runs.at(-1) ?? [];
  if (!runMatchesAt(first, texts, 0)) return false;
  if (runs.length === 1) return first.length === texts.length;
  const end = texts.length - last.length - tailSegments;
  if (end < first.length || !runMatchesAt(last, texts, texts.length - last.length)) return false;
  let offset = first.length;
  for (const run of runs.slice(1, -1)) {
    const found = findRun(run, texts, offset, end);
    if (found < 0) return false;
    offset = found + run.length;
  }
  return true;
};

/** Unescapes a literal `*`; only patterns escape it (docs/spec/trust.md §10). */
const literal = (piece: string): string => piece.replaceAll("%2A", "*");

/** The pattern must have passed `globFault`; compile once, match often. */
export const compileGlob = (pattern: string): Glob => {
  const segments = pattern
    .split("/")
    .map((segment): Segment => (segment === "**" ? null : segment.split("*").map(literal)));
  const runs = splitRuns(segments);
  const tailSegments = segments.length > 1 && segments.at(-1) === null ? 1 : 0;
  const star = pattern.indexOf("*");
  const prefix = literal(star < 0 ? pattern : pattern.slice(0, star));
  return {
    pattern,
    literalBytes: utf8Encode(pattern.replaceAll("**/", "").replaceAll("*", "")).length,
    stars: pattern.split("*").length - 1,
    matches: (text) => text.startsWith(prefix) && matchesRuns(runs, text.split("/"), tailSegments),
  };
};

/** Most specific first: more literal bytes, then fewer stars, then byte order. A total order. */
export const compareGlobs = (a: Glob, b: Glob): number =>
  b.literalBytes - a.literalBytes ||
  a.stars - b.stars ||
  compareBytes(utf8Encode(a.pattern), utf8Encode(b.pattern));

export type GlobMatch<Value> = { readonly pattern: string; readonly value: Value };

export type GlobTable<Value> = {
  /** Most specific first. */
  readonly entries: readonly GlobMatch<Value>[];
  /** @returns the most specific entry that matches, or null. */
  readonly find: (text: string) => GlobMatch<Value> | null;
};

/**
 * A text with a "." or ".." segment or a control character matches nothing: `public/../system` must not match
 * `public/**`.
 */
const isPlain = (text: string): boolean =>
  !/\p{Cc}/u.test(text) && !/(?:^|\/)\.{1,2}(?:\/|$)/.test(text) && text !== "";

/** Patterns must be distinct and have passed `globFault`. */
export const compileGlobTable = <Value>(
  entries: readonly (readonly [pattern: string, value: Value])[],
): GlobTable<Value> => {
  const compiled = entries
    .map(([pattern, value]) => ({ glob: compileGlob(pattern), match: Object.freeze({ pattern, value }) }))
    .sort((a, b) => compareGlobs(a.glob, b.glob));
  // An exact literal is always the most specific match: no matching pattern has more literal bytes, and it has no star.
  const exact = new Map(
    compiled.filter(({ glob }) => glob.stars === 0).map(({ match }) => [literal(match.pattern), match]),
  );
  const wild = compiled.filter(({ glob }) => glob.stars > 0);
  const look = (text: string): GlobMatch<Value> | null =>
    isPlain(text) ? (exact.get(text) ?? wild.find(({ glob }) => glob.matches(text))?.match ?? null) : null;
  /** Cache: backends repeat the same texts, and a lookup costs as much as the rest of a decision's features. */
  const found = new Map<string, GlobMatch<Value> | null>();
  return Object.freeze({
    entries: Object.freeze(compiled.map(({ match }) => match)),
    find: (text: string) => {
      const known = found.get(text);
      if (known !== undefined) return known;
      const match = look(text);
      if (found.size >= globFindsMax) found.clear();
      found.set(text, match);
      return match;
    },
  });
};
