/** An export that is killed a hundred times: whoever reads the directory, at any moment, sees a whole log. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import { MadeUpLog, verifyTiledLog, type ReadFile } from "../contract/tiled-log.ts";

const kills = 100;
/** Workers that are loading while others are killed. */
const startedAhead = 4;

const start = (directory: string, round: number): ChildProcess =>
  fork(new URL("../contract/tiles-worker.ts", import.meta.url), [directory, String(round)]);

describe("an export of tiles", function () {
  this.timeout(600_000);

  it(`that is killed ${kills} times is a whole log to its readers before, at and after each, and loses nothing`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-tiles-"));
    const read: ReadFile = (path) => readFile(join(directory, path)).catch(() => undefined);
    const workers: ChildProcess[] = [];
    try {
      let [size, reads, moved] = [0, 0, 0];
      const look = async (): Promise<void> => {
        const seen = await verifyTiledLog(read);
        expect(seen?.size ?? 0).to.be.at.least(size);
        size = seen?.size ?? 0;
        reads += 1;
      };
      for (let round = 0; round < kills; round += 1) {
        const before = size;
        while (workers.length < startedAhead) workers.push(start(directory, round + workers.length));
        const worker = workers.shift() as ChildProcess;
        worker.send("begin");
        const ended = once(worker, "exit");
        // Anywhere within its first steps, while they are read.
        for (let steps = round % 4; steps >= 0; steps -= 1) await once(worker, "message");
        const killed = pause((round * 37) % 60).then(() => worker.kill("SIGKILL"));
        await look();
        await killed;
        const [, signal] = await ended;
        expect(signal).to.equal("SIGKILL");
        await look();
        if (size > before) moved += 1;
      }
      expect(reads).to.equal(2 * kills);
      expect(moved).to.be.at.least((kills * 3) / 4);
      const log = new MadeUpLog("killed", size);
      expect((await verifyTiledLog(read))?.note).to.equal(log.note);
    } finally {
      for (const worker of workers) worker.kill("SIGKILL");
      await rm(directory, { recursive: true });
    }
  });
});
