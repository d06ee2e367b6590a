/**
 * The definition of a command: flags, positional arguments, help and action. Argument parsing is strict: an unknown
 * flag (with a suggestion), a duplicate one or one without its value is an error.
 */
import { parseArgs } from "node:util";
import { nearest } from "../../config/nearest.ts";
import { fail } from "../../errors.ts";
import type { Terminal } from "./terminal.ts";

/** Exit codes. */
export const exitCodes = {
  /** Done; allowed; verified. */
  ok: 0,
  /** Denied, refused, in review, damaged or not verified. */
  no: 1,
  /** Usage error, or the result could not be determined. */
  unknown: 2,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export type Flag = {
  readonly about: string;
  /** Placeholder for the value in the help; absent for a switch. */
  readonly value?: string;
  readonly multiple?: boolean;
};

export type Flags = Readonly<Record<string, Flag>>;

export type Arguments = {
  /** Undefined if the flag is absent. */
  readonly text: (flag: string) => string | undefined;
  readonly texts: (flag: string) => readonly string[];
  readonly has: (flag: string) => boolean;
  readonly words: readonly string[];
};

export type Command = {
  /** The command's name, for example "audit list". */
  readonly name: string;
  readonly about: string;
  /** Positional arguments, for example ["FILE"]; in brackets if optional, the last with "…" once or more. */
  readonly words?: readonly string[];
  readonly flags: Flags;
  readonly examples: readonly string[];
  /** Meanings of the exit codes, if specific to this command. */
  readonly exits?: readonly string[];
  /** The command parses its own arguments, those of the configuration. */
  readonly rawArguments?: boolean;
  readonly run: (given: Arguments, terminal: Terminal, argv: readonly string[]) => Promise<ExitCode>;
};

export const usage = (rule: string): never => fail({ kind: "usage", rule });

export const jsonFlag = { json: { about: "Print JSON instead of text." } } as const satisfies Flags;

const helpFlag = { help: { about: "Show this help." } } as const satisfies Flags;

const checkFlags = (command: Command, tokens: readonly OptionToken[]): void => {
  const flags: Flags = { ...command.flags, ...helpFlag };
  const seen = new Set<string>();
  for (const { name, rawName, value } of tokens) {
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (flag === undefined) {
      const known = `--${nearest(name, Object.keys(flags))}`;
      return usage(`${rawName} is not a flag of sigil ${command.name}; did you mean ${known}?`);
    }
    if (flag.value === undefined && value !== undefined) usage(`${rawName} takes no value`);
    if (flag.value !== undefined && value === undefined) usage(`${rawName} needs a value: ${flag.value}`);
    if (seen.has(name) && flag.multiple !== true) usage(`${rawName} is given twice`);
    seen.add(name);
  }
};

type OptionToken = {
  readonly name: string;
  readonly rawName: string;
  readonly value: string | undefined;
};

/** A value that looks like a flag means that the value was forgotten; "-" alone is standard input. */
const isForgotten = (value: string | undefined, inline: boolean | undefined): boolean =>
  inline !== true && value !== undefined && value.startsWith("--");

/** Base64url of 32 bytes, as keys and thumbprints are: one in 64 begins with a dash, and no flag is so long. */
const dashedKey = /^-[\w-]{42}$/;
/** No argument of a process contains it. */
const shield = "\0";
const shielded = (argument: string): string => (dashedKey.test(argument) ? `${shield}${argument}` : argument);
const unshielded = (argument: string): string => argument.replace(shield, "");

/** @throws usage. */
export const readArguments = (command: Command, argv: readonly string[]): Arguments => {
  const flags: Flags = { ...command.flags, ...helpFlag };
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [
      name,
      {
        type: flag.value === undefined ? ("boolean" as const) : ("string" as const),
        multiple: true,
        ...(name === "help" ? { short: "h" } : {}),
      },
    ]),
  );
  const { tokens } = parseArgs({
    args: argv.map(shielded),
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = tokens.flatMap((token) => {
    if (token.kind !== "option") return [];
    const value = isForgotten(token.value, token.inlineValue) ? undefined : token.value;
    return [{ name: token.name, rawName: token.rawName, value }];
  });
  checkFlags(command, given);
  const texts = (name: string): readonly string[] =>
    given.flatMap((token) =>
      token.name === name && token.value !== undefined ? [unshielded(token.value)] : [],
    );
  const words = tokens.flatMap((token) => (token.kind === "positional" ? [unshielded(token.value)] : []));
  const has = (name: string): boolean => given.some((token) => token.name === name);
  if (!has("help")) checkWords(command, words);
  return { text: (name) => texts(name)[0], texts, has, words };
};

const checkWords = ({ name, words: wanted = [] }: Command, words: readonly string[]): void => {
  const missing = wanted[words.length];
  const takesMore = wanted.at(-1)?.endsWith("…") === true;
  if (missing !== undefined && !missing.startsWith("["))
    usage(`sigil ${name} needs ${missing}; see: sigil ${name} --help`);
  const extra = words[wanted.length];
  if (extra !== undefined && !takesMore)
    usage(`sigil ${name} does not take "${extra}"; see: sigil ${name} --help`);
};

/** The value of a required flag. @throws usage. */
export const required = (given: Arguments, flag: string, value: string): string =>
  given.text(flag) ?? usage(`--${flag} ${value} is needed`);

/** @throws usage unless it is a whole number in the range. */
export const wholeNumber = (text: string, flag: string, [min, max]: readonly [number, number]): number => {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  return number >= min && number <= max
    ? number
    : usage(`--${flag} must be a whole number from ${min} to ${max}`);
};

const wholeMax = 2n ** 64n - 1n;

/** A version or position: a 64-bit whole number, or undefined if the flag is absent. @throws usage. */
export const countOf = (given: Arguments, flag: string, min = 0n): bigint | undefined => {
  const text = given.text(flag);
  if (text === undefined) return undefined;
  const number = /^\d{1,20}$/.test(text) ? BigInt(text) : -1n;
  return number >= min && number <= wholeMax
    ? number
    : usage(`--${flag} must be a whole number, ${min} or more`);
};

const flagLines = (flags: Flags): readonly string[] => {
  const names = Object.entries(flags).map(([name, { value, multiple }]) => {
    const shown = `--${name}${value === undefined ? "" : ` ${value}`}`;
    return multiple === true ? `${shown} …` : shown;
  });
  const width = Math.max(...names.map((name) => name.length));
  return Object.values(flags).map(({ about }, at) => `  ${(names[at] ?? "").padEnd(width)}  ${about}`);
};

export const formatHelp = (command: Command): string => {
  const { name, about, words = [], examples, exits, flags } = command;
  const sections = [
    [`sigil ${[name, ...words].join(" ")} [flags]`, "", about],
    ["Flags:", ...flagLines({ ...flags, ...helpFlag })],
    ["Examples:", ...examples.map((example) => `  ${example}`)],
    ...(exits === undefined ? [] : [["Exit codes:", ...exits.map((exit) => `  ${exit}`)]]),
  ];
  return sections.map((lines) => lines.join("\n")).join("\n\n");
};
