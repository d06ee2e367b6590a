/** The server under attack, in a separate process, and its memory. */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type Memory = NodeJS.MemoryUsage;

export type Served = AsyncDisposable & {
  readonly target: string;
  readonly operatorUrl: string;
  /** Memory after a full collection. */
  readonly memory: () => Promise<Memory>;
  /** Peak resident bytes since the last call; resets the peak. */
  readonly residentPeak: () => number;
  /** Resident bytes of mapped files. */
  readonly mapped: () => number;
};

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const startMs = 60_000;

const listening = (server: ChildProcess): Promise<{ readonly target: string; readonly operator: string }> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the server did not start")), startMs);
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: server.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      if (!line.includes('"msg":"serving"')) return;
      clearTimeout(timer);
      resolve(JSON.parse(line) as { target: string; operator: string });
    });
  });

/** @param descriptors the server's limit of open files. */
export const serve = async (data: string, descriptors?: number): Promise<Served> => {
  const program = [
    process.execPath,
    "--expose-gc",
    "--import",
    pathOf("probe.ts"),
    pathOf("../../../src/main.ts"),
    "serve",
    "--data",
    data,
    "--listen",
    "127.0.0.1:0",
    "--operator-listen",
    "127.0.0.1:0",
  ];
  const limited = ["bash", "-c", `ulimit -n ${descriptors}; exec "$@"`, "bash", ...program];
  const [command = "", ...words] = descriptors === undefined ? program : limited;
  const server = spawn(command, words, { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  try {
    const { target, operator } = await listening(server);
    const ofProcess = (file: string): string => `/proc/${server.pid}/${file}`;
    const bytesOf = (field: string): number => {
      const status = readFileSync(ofProcess("status"), "utf8");
      return Number(new RegExp(String.raw`${field}:\s+(\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
    };
    return {
      target,
      operatorUrl: operator,
      memory: () =>
        new Promise((resolve) => {
          server.once("message", (memory) => resolve(memory as Memory));
          server.send("memory");
        }),
      residentPeak: () => {
        const peak = bytesOf("VmHWM");
        // Resets the high-water mark. Source: proc(5), clear_refs.
        writeFileSync(ofProcess("clear_refs"), "5");
        return peak;
      },
      mapped: () => bytesOf("RssFile"),
      [Symbol.asyncDispose]: async () => {
        server.kill("SIGTERM");
        const timer = setTimeout(() => server.kill("SIGKILL"), startMs);
        await ended;
        clearTimeout(timer);
      },
    };
  } catch (error) {
    server.kill("SIGKILL");
    throw error;
  }
};
