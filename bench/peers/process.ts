/** A server's process: started with its output in a file, waited for until its port opens, ended with the benchmark. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const openMs = 60_000;
const pollMs = 50;
/** A server that has not left by then is killed. */
const leaveMs = 15_000;
const shownBytes = 600;

export type ServerProcess = { readonly pid: number };

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const end = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", end(true)).once("error", end(false));
  });

/** @throws Error if it leaves, or does not listen within a minute, with the end of its output. */
export const startProcess = async (
  command: readonly string[],
  port: number,
  options: {
    readonly output: string;
    readonly signal: AbortSignal;
    /** What ends it, whether it comes up or not. */
    readonly processes: AsyncDisposableStack;
  },
): Promise<ServerProcess> => {
  const { output, signal, processes } = options;
  const [program = "", ...words] = command;
  const file = await open(output, "a");
  const child = spawn(program, words, { stdio: ["ignore", file.fd, file.fd] });
  const gone = once(child, "exit").catch(() => {});
  await file.close();
  const isAlive = (): boolean =>
    child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const stop = async (): Promise<void> => {
    if (!isAlive()) return;
    child.kill("SIGTERM");
    const kill = setTimeout(() => child.kill("SIGKILL"), leaveMs);
    await gone;
    clearTimeout(kill);
  };
  processes.defer(stop);
  const startMs = performance.now();
  while (!(await isOpen(port))) {
    signal.throwIfAborted();
    if (!isAlive()) throw new Error(`it left: ${(await readFile(output, "utf8")).slice(-shownBytes).trim()}`);
    if (performance.now() - startMs > openMs) throw new Error(`it did not listen within ${openMs / 1000} s`);
    await delay(pollMs);
  }
  return { pid: child.pid ?? 0 };
};
