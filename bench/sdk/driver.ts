/**
 * A client's process of any language: it gets what to call as its only argument, a line of JSON for each load, and
 * answers each with the processor time that the load took, its threads together.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/**
 * The generated stub with a deadline and a fixed token; the client with a key; and the client with every decision
 * verified, at a real server.
 */
export type Load = "stub" | "client" | "verified";

export type DriverInput = {
  /** A server that answers every check with the same allow. */
  readonly target: string;
  /** A real one. */
  readonly provingTarget: string;
  /** Hex. */
  readonly genesis: string;
  readonly origin: string;
  readonly principal: string;
  /** PKCS #8 PEM. */
  readonly keyFile: string;
  /** For the stub, which makes none itself. */
  readonly token: string;
  /** Calls at a time. */
  readonly inFlight: number;
};

export type Asked = { readonly load: Load; readonly checks: number };
/** Processor time of the whole load. */
export type Took = { readonly cpuUs: number };

export type Driver = AsyncDisposable & {
  /** @returns processor time a check, in microseconds. */
  readonly drive: (load: Load, checks: number) => Promise<number>;
};

export const startDriver = (command: readonly string[], cwd: string, input: DriverInput): Driver => {
  const [program = "", ...words] = command;
  const child = spawn(program, [...words, JSON.stringify(input)], {
    cwd,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  return {
    drive: async (load, checks) => {
      const answered = once(lines, "line");
      child.stdin.write(`${JSON.stringify({ load, checks } satisfies Asked)}\n`);
      const left = gone.then(([code]) => Promise.reject(new Error(`${program} left with ${String(code)}`)));
      const [line]: readonly unknown[] = await Promise.race([answered, left]);
      const { cpuUs } = JSON.parse(String(line)) as Took;
      return cpuUs / checks;
    },
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await gone;
    },
  };
};
