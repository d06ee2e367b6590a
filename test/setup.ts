/**
 * Loaded before the tests, in every process that runs some. Programs that tests start compile their sources once for
 * all of them, and temporary directories lie in memory where there is room: without the two, most of a run goes into
 * starting the same command line again and into waiting for disks. What is about a disk makes its own; `npm run
 * campaign:kill` uses a real one.
 */
import { existsSync, statfsSync } from "node:fs";
import { enableCompileCache, flushCompileCache } from "node:module";
import { resolve } from "node:path";

// As src/main.ts does: LevelDB makes its files as the umask says, and a start refuses files that others may read.
process.umask(0o077);

const cache = resolve(import.meta.dirname, "../build/compile-cache");
const wasCompiled = existsSync(cache);
enableCompileCache(cache);
process.env["NODE_COMPILE_CACHE"] ??= cache;

/** In a fresh checkout: once, before all processes that run tests begin by compiling the same sources. */
export const mochaGlobalSetup = async (): Promise<void> => {
  if (wasCompiled) return;
  await Promise.all([import("../src/cli/command-line.ts"), import("../src/wire/server.ts")]);
  flushCompileCache();
};

const memory = "/dev/shm";
const roomBytesMin = 4 * 2 ** 30;

const hasRoom = (): boolean => {
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize >= roomBytesMin;
  } catch {
    return false;
  }
};

if (process.platform === "linux" && process.env["TMPDIR"] === undefined && hasRoom()) {
  process.env["TMPDIR"] = memory;
}
