/** Runs one command and keeps what it printed. Used by the scripts that stand for several tools. */
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

export const repository = join(import.meta.dirname, "..");

export type Outcome = {
  readonly exitCode: number;
  /** Standard output and error in the order they came. */
  readonly output: string;
  readonly durationMs: number;
};

/** The repository's own tools first, so that `node`, `buf` and the others are the locked ones. */
const environment = (extra: Readonly<Record<string, string>>) => ({
  ...process.env,
  PATH: [join(repository, "node_modules", ".bin"), process.env["PATH"] ?? ""].join(delimiter),
  ...extra,
});

/**
 * @param command program and arguments, looked up in node_modules/.bin first. Never throws: a missing program is 127.
 */
export const run = async (
  command: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Outcome> => {
  const [program = "", ...args] = command;
  const startMs = performance.now();
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const parts: Buffer[] = [];
  const finish = (exitCode: number): void => {
    const output = Buffer.concat(parts).toString("utf8");
    resolve({ exitCode, output, durationMs: performance.now() - startMs });
  };
  const child = spawn(program, args, {
    cwd: options.cwd ?? repository,
    env: environment(options.env ?? {}),
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  child.stderr.on("data", (part: Buffer) => parts.push(part));
  child.on("error", (error) => {
    parts.push(Buffer.from(`${program}: ${error.message}\n`));
    finish(127);
  });
  // A signal leaves no code: that is a failure like any other.
  child.on("close", (code) => finish(code ?? 1));
  return promise;
};
