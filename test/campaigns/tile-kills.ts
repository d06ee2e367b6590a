/** The rounds of `campaign:tiles`: an export that is killed, and a reader that looks at its directory meanwhile. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { MadeUpLog, verifyTiledLog, type ReadFile } from "../contract/tiled-log.ts";
import { createRandom } from "./oracle.ts";

/** Workers that are loading while others are killed. */
const startedAhead = 4;
/** The kill comes within so long after the worker's last step that was waited for. */
const delayMsMax = 60;
/** Steps of a worker before its kill. */
const stepsMax = 4;

export type TileKills = {
  /** Times the whole log was read: while a worker is killed and afterwards. */
  readonly reads: number;
  /** Kills before which the log had grown. */
  readonly moved: number;
  readonly size: number;
};

/**
 * Kills `count` exports of one growing log, one after the other, each going on in the directory of those before.
 * @throws Error at the first read that finds no whole log, or a smaller one, or another one than was made up.
 */
export const killExports = async ({
  count,
  seed,
}: {
  readonly count: number;
  readonly seed: number;
}): Promise<TileKills> => {
  const random = createRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const directory = await mkdtemp(join(tmpdir(), "sigil-tiles-"));
  const read: ReadFile = (path) => readFile(join(directory, path)).catch(() => undefined);
  const start = (): ChildProcess =>
    fork(new URL("../contract/tiles-worker.ts", import.meta.url), [directory, String(below(1 << 30))]);
  const workers: ChildProcess[] = [];
  let [size, reads, moved] = [0, 0, 0];
  const look = async (): Promise<void> => {
    const seen = (await verifyTiledLog(read))?.size ?? 0;
    if (seen < size) throw new Error(`a log of ${seen} entries, after ${size}`);
    size = seen;
    reads += 1;
  };
  try {
    for (let round = 0; round < count; round += 1) {
      const before = size;
      while (workers.length < Math.min(startedAhead, count - round)) workers.push(start());
      const worker = workers.shift() as ChildProcess;
      worker.send("begin");
      const ended = once(worker, "exit");
      for (let steps = 1 + below(stepsMax); steps > 0; steps -= 1) await once(worker, "message");
      const killed = pause(below(delayMsMax)).then(() => worker.kill("SIGKILL"));
      await look();
      await killed;
      const [code, signal] = await ended;
      if (signal !== "SIGKILL") throw new Error(`an export ended with ${code} before it was killed`);
      await look();
      if (size > before) moved += 1;
    }
    const { note } = new MadeUpLog("killed", size);
    if ((await verifyTiledLog(read))?.note !== note) throw new Error("another log than was made up");
    return { reads, moved, size };
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
    await rm(directory, { recursive: true });
  }
};
