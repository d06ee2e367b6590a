/**
 * The command line in a directory of its own: as a person has it, a process of src/main.ts, or here, in this process,
 * where only what the command does counts. A process takes seconds of processor time to load what is loaded here
 * already.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { loadConfig } from "../../src/cli/deployment/serve.ts";
import { kekInputsOf } from "../../src/cli/terminal/passphrase.ts";
import { processTerminal, type Terminal } from "../../src/cli/terminal/terminal.ts";
import { startServer } from "../../src/wire/server.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");

export type Ended = { readonly exitCode: number | null; readonly output: string; readonly problems: string };

export type RunOptions = {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Whether the input is what somebody types, and not a file. */
  readonly keyboard?: boolean;
};

/** Nothing of the caller's own settings reaches the command, and no colour is forced on it. */
const cleanEnvironment = (extra: Readonly<Record<string, string>> = {}) => {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:SIGIL_|FORCE_COLOR|NO_COLOR)/.test(name));
  return { ...Object.fromEntries(kept), ...extra };
};

const start = (words: readonly string[], { cwd, env }: RunOptions): ChildProcess =>
  spawn(process.execPath, [mainPath, ...words], { cwd, env: cleanEnvironment(env), stdio: "pipe" });

export const sigil = async (words: readonly string[], options: RunOptions): Promise<Ended> => {
  const child = start(words, options);
  const texts = { output: "", problems: "" };
  child.stdout?.on("data", (part: Buffer) => (texts.output += part.toString()));
  child.stderr?.on("data", (part: Buffer) => (texts.problems += part.toString()));
  child.stdin?.end(options.input ?? "");
  await once(child, "close");
  return { exitCode: child.exitCode, ...texts };
};

// As src/main.ts does, whose part the process has here.
process.umask(0o077);

const home = process.cwd();
/** Commands of one directory may run beside each other. */
let runningHere = 0;

const inDirectory = async <T>(cwd: string, work: () => Promise<T>): Promise<T> => {
  runningHere += 1;
  process.chdir(cwd);
  try {
    return await work();
  } finally {
    runningHere -= 1;
    if (runningHere === 0) process.chdir(home);
  }
};

type Texts = { output: string; problems: string };

const terminalHere = ({ env, input, keyboard = false }: RunOptions, texts: Texts): Terminal => {
  const writing = (name: keyof Texts): Writable =>
    new Writable({
      write: (part: Buffer, _encoding, done) => {
        texts[name] += part.toString();
        done();
      },
    });
  return processTerminal({
    env: cleanEnvironment(env),
    stdin: Object.assign(Readable.from([Buffer.from(input ?? "")]), { isTTY: keyboard }),
    stdout: writing("output"),
    stderr: writing("problems"),
  });
};

/** The same command line without a process of its own. */
export const sigilHere = async (words: readonly string[], options: RunOptions): Promise<Ended> => {
  const texts = { output: "", problems: "" };
  const terminal = terminalHere(options, texts);
  const exitCode = await inDirectory(options.cwd, () => runCommandLine(words, terminal));
  return { exitCode, ...texts };
};

export type Running = AsyncDisposable & {
  /** Resolves with the output so far as soon as it matches. @throws when the command ends before. */
  readonly printed: (pattern: RegExp) => Promise<string>;
  /** @returns the exit code. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
  /** Everything on both outputs so far. */
  readonly said: () => string;
};

/** A command that goes on until it is told to end. */
export const running = (words: readonly string[], options: RunOptions): Running => {
  const child = start(words, options);
  child.stdin?.end();
  const [closed, texts] = [once(child, "close"), { output: "", problems: "" }];
  child.stderr?.on("data", (part: Buffer) => (texts.problems += part.toString()));
  child.stdout?.on("data", (part: Buffer) => (texts.output += part.toString()));
  const printed = async (pattern: RegExp): Promise<string> => {
    while (!pattern.test(texts.output)) {
      const isOver = await Promise.race([
        closed.then(() => true),
        once(child.stdout ?? child, "data").then(() => false),
      ]);
      if (isOver) throw new Error(`sigil ${words.join(" ")} ended: ${texts.problems}`);
    }
    return texts.output;
  };
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    await closed;
    return child.exitCode;
  };
  const said = (): string => texts.output + texts.problems;
  return { printed, end, said, [Symbol.asyncDispose]: async () => void (await end("SIGKILL")) };
};

export type Serving = AsyncDisposable & {
  readonly target: string;
  /** Empty where HTTP is off. */
  readonly httpUrl: string;
  /** Every line of its log so far. */
  readonly logged: () => string;
  /** Stops it as SIGTERM does. @returns the exit code. */
  readonly stop: () => Promise<number | null>;
};

export type ServingProcess = Serving & {
  /** Everything on standard error so far. */
  readonly problems: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves when its log has a line that matches; @throws when it ends before. */
  readonly logs: (pattern: RegExp) => Promise<string>;
};

/** `serve` or `dev` in a process of its own, as soon as its log says that it serves. */
export const serving = async (words: readonly string[], options: RunOptions): Promise<ServingProcess> => {
  const child = start(words, options);
  let problems = "";
  child.stderr?.on("data", (part: Buffer) => (problems += part.toString()));
  const closed = once(child, "close");
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let isOver = false;
  const wake = (): void => waiting.forEach((look) => look());
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on("line", (line) => (lines.push(line), wake()));
  }
  void closed.then(() => ((isOver = true), wake()));
  const logs = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const line = lines.find((one) => pattern.test(one));
        if (line === undefined && !isOver) return;
        waiting.delete(look);
        if (line !== undefined) resolve(line);
        else reject(new Error(`sigil ${words.join(" ")} ended: ${problems}`));
      };
      waiting.add(look);
      look();
    });
  const { target, http = "" } = JSON.parse(await logs(/"msg":"serving"/)) as {
    readonly target: string;
    readonly http?: string;
  };
  const stop = async (): Promise<number | null> => {
    child.kill("SIGTERM");
    await closed;
    return child.exitCode;
  };
  return {
    target,
    httpUrl: http,
    problems: () => problems,
    logged: () => lines.join("\n"),
    signal: (signal) => void child.kill(signal),
    logs,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
};

const pathKeys = ["data", "tls.cert", "tls.key", "tls.client_ca", "pkcs11.module"] as const;

/** `serve` without a process of its own. What ends a process (a signal, a start that fails) is not to be seen here. */
export const servingHere = async (words: readonly string[], options: RunOptions): Promise<Serving> => {
  const terminal = terminalHere(options, { output: "", problems: "" });
  const given = await inDirectory(options.cwd, async () => loadConfig(words.slice(1), terminal));
  const paths = pathKeys
    .filter((key) => given[key] !== "")
    .map((key) => [key, resolve(options.cwd, given[key])]);
  const config = { ...given, ...Object.fromEntries(paths) } as const;
  const kekInputs = kekInputsOf(terminal, { modulePath: config["pkcs11.module"] });
  let log = "";
  const logStream = { write: (line: string): void => void (log += line) };
  const server = await startServer({ config, overrides: { kekInputs, logStream } });
  const stop = async (): Promise<number> => {
    await server.close();
    await kekInputs[Symbol.asyncDispose]();
    return 0;
  };
  return {
    target: server.target,
    httpUrl: server.httpUrl ?? "",
    logged: () => log,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
};

const ports = ["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"] as const;
/** Most servers here run no module: a process is started by the first run. */
const noneWarm = ["--module-processes-warm", "0"] as const;
export const freePorts = [...ports, "--http-listen", "off", ...noneWarm] as const;
/** And one for HTTP. */
export const freePortsAndHttp = [...ports, "--http-listen", "127.0.0.1:0", ...noneWarm] as const;
