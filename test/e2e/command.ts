/** The command line as a person has it: real processes of src/main.ts, in a directory of their own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

const mainPath = join(import.meta.dirname, "../../src/main.ts");

export type Ended = { readonly exitCode: number | null; readonly output: string; readonly problems: string };

export type RunOptions = {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
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

export type Serving = AsyncDisposable & {
  readonly target: string;
  /** Everything on standard error so far. */
  readonly problems: () => string;
  /** Sends SIGTERM. @returns the exit code. */
  readonly stop: () => Promise<number | null>;
};

/** `serve` or `dev`, as soon as its log says that it serves. */
export const serving = async (words: readonly string[], options: RunOptions): Promise<Serving> => {
  const child = start(words, options);
  let problems = "";
  child.stderr?.on("data", (part: Buffer) => (problems += part.toString()));
  const closed = once(child, "close");
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { msg, target } = JSON.parse(line) as { readonly msg?: string; readonly target?: string };
      if (msg === "serving" && target !== undefined) resolve(target);
    });
  }
  void closed.then(() => reject(new Error(`sigil ${words.join(" ")} ended: ${problems}`)));
  const stop = async (): Promise<number | null> => {
    child.kill("SIGTERM");
    await closed;
    return child.exitCode;
  };
  return {
    target: await promise,
    problems: () => problems,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
};

export const freePorts = ["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"] as const;
