/**
 * Regular expressions of JSON Schemas (ECMA-262 with the flag `u`), matched in time linear in the text: the pattern is
 * parsed, classes are expanded to ranges of code points, and RE2 matches. Lookaround and backreferences, which no
 * linear engine supports, are not translated.
 */
import { parseRegExpLiteral, type AST } from "@eslint-community/regexpp";
import { RE2JS } from "re2js";

export type LinearPattern =
  | { readonly kind: "linear"; readonly test: (text: string) => boolean }
  /** `rule` names the construct that takes more than linear time. */
  | { readonly kind: "unsupported"; readonly rule: string };

class Unsupported extends Error {}

const unsupported = (rule: string): never => {
  throw new Unsupported(rule);
};

/** First and last code point. */
type Range = readonly [first: number, last: number];

const codePointMax = 0x10ffff;
const isSurrogate = (point: number): boolean => point >= 0xd800 && point <= 0xdfff;

/** Sorted, without overlap. */
const normalised = (ranges: readonly Range[]): readonly Range[] => {
  const merged: Range[] = [];
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before[1] + 1)
      merged[merged.length - 1] = [before[0], Math.max(before[1], last)];
    else merged.push([first, last]);
  }
  return merged;
};

const complement = (ranges: readonly Range[]): readonly Range[] => {
  const rest: Range[] = [];
  let next = 0;
  for (const [first, last] of normalised(ranges)) {
    if (first > next) rest.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= codePointMax) rest.push([next, codePointMax]);
  return rest;
};

/** Cached by escape; computing each iterates over all of Unicode. */
const knownSets = new Map<string, readonly Range[]>();
const knownSetsMax = 256;

/** The code points that JavaScript matches with an escape, so that RE2's tables need not agree. */
const rangesOfEscape = (escape: string): readonly Range[] => {
  const known = knownSets.get(escape);
  if (known !== undefined) return known;
  const one = new RegExp(`^${escape}$`, "u");
  const ranges: Range[] = [];
  let first = -1;
  for (let point = 0; point <= codePointMax + 1; point += 1) {
    const isIn = point <= codePointMax && !isSurrogate(point) && one.test(String.fromCodePoint(point));
    if (isIn && first < 0) first = point;
    if (!isIn && first >= 0) {
      ranges.push([first, point - 1]);
      first = -1;
    }
  }
  if (knownSets.size >= knownSetsMax) knownSets.clear();
  knownSets.set(escape, ranges);
  return ranges;
};

const rangesOf = (element: AST.CharacterClassElement | AST.CharacterSet): readonly Range[] => {
  switch (element.type) {
    case "Character":
      return [[element.value, element.value]];
    case "CharacterClassRange":
      return [[element.min.value, element.max.value]];
    case "CharacterSet":
      return element.kind === "any"
        ? complement(rangesOfEscape("[\\n\\r\\u2028\\u2029]"))
        : rangesOfEscape(element.raw);
    case "CharacterClass":
    case "ClassStringDisjunction":
    case "ExpressionCharacterClass":
      return unsupported("holds a class that only the flag v has");
  }
};

const hex = (point: number): string => `\\x{${point.toString(16)}}`;

/** Well-formed text has no lone surrogates, and RE2 does not accept them. */
const withoutSurrogates = ([first, last]: Range): readonly Range[] => {
  const below: Range = [first, Math.min(last, 0xd7ff)];
  const above: Range = [Math.max(first, 0xe000), last];
  return [below, above].filter(([from, to]) => from <= to);
};

/** Matches nothing, for an empty class. */
const never = "(?:\\z\\x{0}\\A)";

const formatClass = (ranges: readonly Range[]): string => {
  const shown = normalised(ranges)
    .flatMap(withoutSurrogates)
    .map(([first, last]) => (first === last ? hex(first) : `${hex(first)}-${hex(last)}`));
  return shown.length === 0 ? never : `[${shown.join("")}]`;
};

const formatAssertion = (assertion: AST.Assertion): string => {
  switch (assertion.kind) {
    case "start":
      return "\\A";
    case "end":
      return "\\z";
    case "word":
      return assertion.negate ? "\\B" : "\\b";
    case "lookahead":
    case "lookbehind":
      return unsupported("looks ahead or behind");
  }
};

const formatElement = (element: AST.Element): string => {
  switch (element.type) {
    case "Character":
      return formatClass([[element.value, element.value]]);
    case "CharacterSet":
      return formatClass(rangesOf(element));
    case "CharacterClass": {
      const ranges = element.elements.flatMap(rangesOf);
      return formatClass(element.negate ? complement(ranges) : ranges);
    }
    case "Group":
      if (element.modifiers !== null) return unsupported("changes its flags inside");
      return formatAlternatives(element.alternatives);
    case "CapturingGroup":
      return formatAlternatives(element.alternatives);
    case "Assertion":
      return formatAssertion(element);
    case "Quantifier":
      return formatQuantifier(element);
    case "Backreference":
      return unsupported("refers back to a group");
    case "ExpressionCharacterClass":
      return unsupported("holds a class that only the flag v has");
  }
};

const formatQuantifier = ({ min, max, element }: AST.Quantifier): string => {
  const repeated = `(?:${formatElement(element)})`;
  if (max === Infinity && min <= 1) return `${repeated}${min === 0 ? "*" : "+"}`;
  return `${repeated}{${min},${max === Infinity ? "" : max}}`;
};

const formatAlternatives = (alternatives: readonly AST.Alternative[]): string =>
  `(?:${alternatives.map(({ elements }) => elements.map(formatElement).join("")).join("|")})`;

/** @throws SyntaxError if it is not a valid pattern. */
export const linearPattern = (source: string): LinearPattern => {
  // JavaScript's own parser decides what is a valid pattern.
  const { source: escaped } = new RegExp(source, "u");
  try {
    const { pattern } = parseRegExpLiteral(`/${escaped}/u`);
    const engine = RE2JS.compile(formatAlternatives(pattern.alternatives));
    return { kind: "linear", test: (text) => engine.test(text) };
  } catch (error) {
    if (error instanceof Unsupported) return { kind: "unsupported", rule: error.message };
    // RE2 limits repetition counts and program size.
    return { kind: "unsupported", rule: "repeats more than a linear engine takes" };
  }
};
