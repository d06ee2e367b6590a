/**
 * `sigil module run`: streams a module's log to standard error, and prints its output to standard output at the end.
 */
import { writeFile } from "node:fs/promises";
import { RunResponse, SigilError, type RunRequest, type SigilConnection } from "@sigil/client";
import { concatBytes, fromHex, toHex } from "@sigil/core/bytes";
import { moduleInputBytesMax } from "../../limits.ts";
import {
  countOf,
  exitCodes,
  jsonFlag,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { readBytes } from "../terminal/input-file.ts";
import { visibleJson } from "../terminal/json-text.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

const hourMs = 3_600_000;

const readInput = async (given: Arguments, terminal: Terminal): Promise<RunRequest["input"]> => {
  const [path, text] = [given.text("input"), given.text("input-json")];
  if (path !== undefined && text !== undefined) usage("--input and --input-json exclude each other");
  if (text !== undefined) return { $case: "inputJson", value: text };
  if (path === undefined) return undefined;
  return { $case: "inputBytes", value: await readBytes(path, "--input", terminal, moduleInputBytesMax) };
};

const readDigest = (text: string | undefined): Uint8Array => {
  if (text === undefined) return new Uint8Array(0);
  return /^[0-9a-f]{64}$/.test(text) ? fromHex(text) : usage("--digest must be 64 hexadecimal digits");
};

const readRequest = async (given: Arguments, terminal: Terminal): Promise<Partial<RunRequest>> => {
  const wall = given.text("wall-ms");
  return {
    name: given.words[0] ?? "",
    version: countOf(given, "version", 1n) ?? 0n,
    digest: readDigest(given.text("digest")),
    input: await readInput(given, terminal),
    wallMs: wall === undefined ? 0 : wholeNumber(wall, "wall-ms", [1, hourMs]),
  };
};

/** Prints complete lines, without terminal control characters. */
class LogLines {
  readonly #terminal: Terminal;
  readonly #decoder = new TextDecoder();
  #rest = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  add(chunk: Uint8Array): void {
    this.#rest += this.#decoder.decode(chunk, { stream: true });
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#terminal.note(printable(line));
  }

  end(): void {
    if (this.#rest !== "") this.#terminal.note(printable(this.#rest));
    this.#rest = "";
  }
}

type Ran = { readonly response: RunResponse; readonly output: Uint8Array };

const runIt = async (
  { modules }: SigilConnection,
  run: Partial<RunRequest>,
  deadlineMs: number | undefined,
  log: LogLines,
): Promise<Ran> => {
  const output: Uint8Array[] = [];
  const options = deadlineMs === undefined ? {} : { deadlineMs };
  try {
    for await (const { part } of modules.runStream({ run }, options)) {
      if (part?.$case === "log") log.add(part.value);
      if (part?.$case === "output") output.push(part.value);
      if (part?.$case === "result") return { response: part.value, output: concatBytes(...output) };
    }
  } finally {
    log.end();
  }
  // Without a result the run is not recorded, and its output must be discarded.
  throw new SigilError(14, "the stream ended without a result");
};

/** Undefined if the output is not text. */
const textOf = (output: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(output);
  } catch {
    return undefined;
  }
};

const showOutput = async (given: Arguments, { output }: Ran, terminal: Terminal): Promise<void> => {
  const path = given.text("output");
  if (path !== undefined) {
    await writeFile(path, output, { mode: 0o600 }).catch(() => usage(`--output: ${path} cannot be written`));
    return;
  }
  const text = textOf(output) ?? usage("the output is no text; say --output FILE");
  if (text !== "") terminal.print(visibleJson(text.endsWith("\n") ? text.slice(0, -1) : text));
};

const facts = ({ runId, auditId, version, digest, usage: used }: RunResponse): string =>
  formatPairs([
    ["run", runId],
    ["audit id", auditId],
    ["code", `version ${version}, ${toHex(digest)}`],
    [
      "used",
      used === undefined
        ? undefined
        : `${Number(used.wallUs) / 1000} ms, ${Number(used.cpuUs) / 1000} ms of processor, ${used.memoryBytesPeak} bytes of memory`,
    ],
  ]);

const exitOf = ({ exitCode }: RunResponse): ExitCode => (exitCode === 0 ? exitCodes.ok : exitCodes.no);

export const moduleRun: Command = {
  name: "module run",
  about:
    "Run a module and print what it wrote. Its log goes to standard error as it comes. The trust model decides first\n" +
    "whether the caller may; the run is recorded, whatever comes of it. Ctrl-C kills it.",
  words: ["NAME"],
  flags: {
    "input-json": { value: "JSON", about: "What the module reads, as JSON text." },
    input: { value: "FILE|-", about: "What the module reads, from a file or standard input." },
    output: { value: "FILE", about: "Where its output goes, byte for byte; default standard output." },
    version: { value: "N", about: "Only when version N is the active one." },
    digest: { value: "HEX", about: "Only when the active code has this SHA-256." },
    "wall-ms": { value: "N", about: "Lower the wall time for this run, in milliseconds." },
    deadline: { value: "N", about: "The longest the call may take, in milliseconds." },
    verbose: { about: "Also say the run's record, its decision and what it used, on standard error." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    `sigil module run hello --input-json '{"name":"Ada"}' --key .sigil/keys/operator.pem --principal operator`,
    "sigil module run redact --input letter.json --output redacted.json --verbose",
    "cat letter.json | sigil module run redact --input - --json",
  ],
  exits: [
    "0  the module exited with 0",
    "1  it exited with another code, or trapped; or the run was denied or refused",
    "2  usage error, no answer, or the run was stopped: discard its output",
  ],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const request = await readRequest(given, terminal);
      const deadline = given.text("deadline");
      const deadlineMs = deadline === undefined ? undefined : wholeNumber(deadline, "deadline", [1, hourMs]);
      const ran = await withConnection(given, terminal, (connection) =>
        runIt(connection, request, deadlineMs, new LogLines(terminal)),
      );
      const { response, output } = ran;
      if (given.has("json")) {
        const outputJson = textOf(output) ?? "";
        terminal.print(JSON.stringify(RunResponse.toJSON({ ...response, output, outputJson })));
      } else {
        await showOutput(given, ran, terminal);
      }
      if (given.has("verbose")) terminal.note(facts(response));
      if (response.exitCode !== 0) terminal.note(`sigil: the module exited with ${response.exitCode}`);
      return exitOf(response);
    }),
};
