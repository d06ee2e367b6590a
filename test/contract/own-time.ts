/**
 * How long something takes, whatever else the machine has to do. The kernel counts for each thread how long it was
 * ready and had no processor; where it does not (outside of Linux), this is the time on the clock.
 */
import { readdirSync, readFileSync } from "node:fs";

const tasks = "/proc/self/task";

/** Nanoseconds each thread of this process was kept waiting so far. Source: proc_pid_schedstat, second field. */
const waitedNs = (): ReadonlyMap<string, number> => {
  const waited = new Map<string, number>();
  try {
    for (const task of readdirSync(tasks)) {
      waited.set(task, Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[1]));
    }
  } catch {
    // A thread has ended, or the kernel does not count: what is known is enough.
  }
  return waited;
};

/** Milliseconds on the clock less those of the thread that was kept waiting longest: never too few of them left. */
export const ownTimeMs = async (work: () => Promise<unknown>): Promise<number> => {
  const before = waitedNs();
  const startMs = performance.now();
  await work();
  const clockMs = performance.now() - startMs;
  const waits = [...waitedNs()].map(([task, ns]) => ns - (before.get(task) ?? 0));
  return clockMs - Math.max(0, ...waits) / 1e6;
};
