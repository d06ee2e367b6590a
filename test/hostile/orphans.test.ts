/** Sandbox processes whose server was killed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";

describe("sandbox processes whose server was killed", () => {
  it("end: the idle one at once, the one in an endless loop when its CPU time is used up", async () => {
    const server = spawn(process.execPath, [join(import.meta.dirname, "orphan.ts")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(server.stdout, "data")) as [Buffer];
    const orphans = line.toString().trim().split(" ");
    expect(orphans.length).to.equal(2);
    server.kill("SIGKILL");
    await once(server, "exit");
    const alive = (): number => orphans.filter((pid) => existsSync(`/proc/${pid}/exe`)).length;
    for (let waitedMs = 0; alive() > 0 && waitedMs < 50_000; waitedMs += 50) await sleep(50);
    expect(alive()).to.equal(0);
  });
});
