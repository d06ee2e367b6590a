/** Runs one command and captures its output. Used by scripts that run several tools. */
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

export const repository = join(import.meta.dirname, "..");

export type Outcome = {
  readonly exitCode: number;
  /** Standard output and error, interleaved as received. */
  readonly output: string;
  readonly durationMs: number;
};

/** Puts the repository's tools first in PATH, so that `node`, `buf` and others are the pinned versions. */
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
  // Death by a signal has no code and counts as failure.
  child.on("close", (code) => finish(code ?? 1));
  return promise;
};
