/** Finds the command that is meant, and runs it. */
import { nearest } from "../config/nearest.ts";
import { keepHeapSmall } from "../deployment/backup/small-heap.ts";
import { SigilFault } from "../errors.ts";
import { commands } from "./commands.ts";
import { exitCodes, formatHelp, readArguments, type Command, type ExitCode } from "./terminal/command.ts";
import { printable, type Terminal } from "./terminal/terminal.ts";

/** Names of all commands. */
export const commandNames = Object.keys(commands);

const overview = (only: readonly string[] = commandNames): string => {
  const width = Math.max(...only.map((name) => name.length));
  const lines = only.map((name) => `  ${name.padEnd(width)}  ${commands[name]?.about ?? ""}`);
  return [
    "sigil COMMAND [flags]",
    "",
    "May this principal do this, now? Every answer is recorded, signed and provable.",
    "",
    "Commands:",
    ...lines,
    "",
    "Exit codes: 0 done, allowed or verified; 1 denied, refused, damaged or not verified; 2 usage error, or undetermined.",
    "Help and examples of a command: sigil COMMAND --help",
  ].join("\n");
};

const isHelp = (word: string | undefined): boolean => word === "--help" || word === "-h" || word === "help";

/** The command of one word or two. */
const findName = (argv: readonly string[]): string | undefined => {
  const [first = "", second = ""] = argv;
  return [`${first} ${second}`, first].find((name) => Object.hasOwn(commands, name));
};

/** Commands of a group, for a group name alone or with an unknown word. */
const groupOf = (word: string): readonly string[] =>
  commandNames.filter((name) => name.startsWith(`${word} `));

const unknownCommand = (argv: readonly string[], terminal: Terminal): ExitCode => {
  const [first = "", second = ""] = argv;
  const group = groupOf(first);
  if (group.length > 0 && (second === "" || isHelp(second))) {
    (isHelp(second) ? terminal.print : terminal.note)(overview(group));
    return isHelp(second) ? exitCodes.ok : exitCodes.unknown;
  }
  const typed = group.length > 0 ? `${first} ${second}` : first;
  const known = nearest(
    typed,
    group.length > 0 ? group : [...commandNames, ...commandNames.map((name) => name.split(" ")[0] ?? "")],
  );
  terminal.note(`sigil: "${printable(typed)}" is not a command; did you mean "${known}"? See: sigil --help`);
  return exitCodes.unknown;
};

/** Whether the arguments before "--" ask for help. */
const asksForHelp = (argv: readonly string[]): boolean => {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === "--help" || word === "-h");
};

const runCommand = async (
  command: Command,
  argv: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> => {
  if (asksForHelp(argv)) {
    terminal.print(formatHelp(command));
    return exitCodes.ok;
  }
  const given = readArguments(command, command.rawArguments === true ? [] : argv);
  return command.run(given, terminal, argv);
};

const describe = async (error: unknown): Promise<string> => {
  if (error instanceof SigilFault) return error.message;
  const { describeCallError } = await import("./call/connection.ts");
  return (
    describeCallError(error) ?? (error instanceof Error ? (error.stack ?? error.message) : String(error))
  );
};

/** Whether the command scans a ledger. */
export const walksLedger = (argv: readonly string[]): boolean => {
  const name = findName(argv);
  return name !== undefined && commands[name]?.walks === true;
};

/** For callers that own the process, before it allocates. */
export const settleHeap = (argv: readonly string[]): void => {
  if (walksLedger(argv)) keepHeapSmall();
};

/** @returns the exit code. Never throws. */
export const runCommandLine = async (argv: readonly string[], terminal: Terminal): Promise<ExitCode> => {
  const [first] = argv;
  if (first === undefined) {
    terminal.note(overview());
    return exitCodes.unknown;
  }
  if (isHelp(first)) {
    const name = findName(argv.slice(1));
    const command = name === undefined ? undefined : await commands[name]?.load();
    terminal.print(command === undefined ? overview() : formatHelp(command));
    return exitCodes.ok;
  }
  if (first === "--version" || first === "version") {
    terminal.print((await import("./terminal/version.ts")).version());
    return exitCodes.ok;
  }
  const name = findName(argv);
  const entry = name === undefined ? undefined : commands[name];
  if (name === undefined || entry === undefined) return unknownCommand(argv, terminal);
  try {
    return await runCommand(await entry.load(), argv.slice(name.split(" ").length), terminal);
  } catch (error) {
    terminal.progress("");
    terminal.note(`sigil: ${await describe(error)}`);
    return exitCodes.unknown;
  }
};
