/** Leaks over many runs: heap, resident memory, processes and file descriptors of the server. */
import { readdirSync, readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { RunRequest, Sandbox } from "../../src/modules/sandbox/run.ts";

type Held = {
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly children: number;
  readonly descriptors: number;
  /** Resident bytes of the largest child process. */
  readonly childBytes: number;
};

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const childrenOf = (pid: number): readonly string[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);

const residentOf = (pid: string): number => {
  const pageBytes = 4096;
  return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes;
};

const measure = async (): Promise<Held> => {
  // Wait for the kernel to reap killed processes.
  await new Promise((resolve) => setTimeout(resolve, 300));
  collect();
  const children = childrenOf(process.pid);
  const { heapUsed, rss } = process.memoryUsage();
  return {
    heapBytes: heapUsed,
    residentBytes: rss,
    children: children.length,
    descriptors: readdirSync("/proc/self/fd").length,
    childBytes: Math.max(0, ...children.map(residentOf)),
  };
};

/** Waits until all processes are idle. */
const settle = async (sandbox: Sandbox, processes: number): Promise<void> => {
  while (sandbox.gauge.warm < processes) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** Tolerance for engine caches; a leak of each run's buffers would exceed it many times. */
const heapBytesMax = 4 << 20;
const residentBytesMax = 64 << 20;
const childBytesMax = 48 << 20;

export const describeHeld = ({
  heapBytes,
  residentBytes,
  children,
  descriptors,
  childBytes,
}: Held): string => {
  const mib = (bytes: number): string => (bytes / (1 << 20)).toFixed(1);
  return (
    `heap ${mib(heapBytes)} MiB, resident ${mib(residentBytes)} MiB, ${children} processes of at most ` +
    `${mib(childBytes)} MiB, ${descriptors} file descriptors`
  );
};

export type RunsOptions = {
  readonly runs: number;
  readonly processes: number;
  /** The request for a run, by its number. */
  readonly requestOf: (run: number) => RunRequest;
  readonly onRun?: (done: number) => void;
};

export const runInARow = async (
  sandbox: Sandbox,
  { runs, processes, requestOf, onRun }: RunsOptions,
): Promise<{ readonly before: Held; readonly after: Held; readonly wrongs: readonly string[] }> => {
  // Warm-up: the first runs fill caches.
  const warmUp = Math.min(500, Math.ceil(runs / 5));
  const go = async (from: number, to: number): Promise<void> => {
    for (let run = from; run < to; run += 1) {
      await sandbox.run(requestOf(run));
      onRun?.(run + 1);
    }
    await settle(sandbox, processes);
  };
  await go(0, warmUp);
  const before = await measure();
  await go(warmUp, runs);
  const after = await measure();
  const wrongs = [
    ...(after.children === before.children ? [] : ["the number of processes changed"]),
    ...(after.descriptors === before.descriptors ? [] : ["the number of file descriptors changed"]),
    ...(after.heapBytes - before.heapBytes > heapBytesMax ? ["the heap has grown"] : []),
    ...(after.residentBytes - before.residentBytes > residentBytesMax ? ["resident memory has grown"] : []),
    ...(after.childBytes - before.childBytes > childBytesMax ? ["a sandbox process has grown"] : []),
  ];
  return { before, after, wrongs };
};
