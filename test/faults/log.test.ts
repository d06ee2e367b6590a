/** A server whose log takes nothing, as a real process: it starts, answers, tells of it and ends. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { connect, SigilError } from "@sigil/client";
import { freePort } from "../contract/free-port.ts";
import { sigilHere } from "../e2e/command.ts";

describe("a server whose log takes nothing", () => {
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "sigil-log-"));
    await sigilHere(["init", "--data", "data", "--dev"], { cwd: directory });
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  const start = async (stdout: number | "pipe", prepare: (child: ChildProcess) => void) => {
    const [port, operator] = [await freePort(), await freePort()];
    const words = ["serve", "--data", "data", "--log-level", "debug"];
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, "../../src/main.ts"),
        ...words,
        "--listen",
        `127.0.0.1:${port}`,
        "--operator-listen",
        `127.0.0.1:${operator}`,
      ],
      { cwd: directory, stdio: ["ignore", stdout, "pipe"] },
    );
    prepare(child);
    return { child, target: `127.0.0.1:${port}`, operator: `http://127.0.0.1:${operator}` };
  };

  const answers = async ({ child, target, operator }: Awaited<ReturnType<typeof start>>): Promise<string> => {
    using sigil = connect({ target, tls: "insecure" });
    const ask = () => sigil.trust.check({ action: "read", target: "public/docs" }).catch(SigilError.from);
    for (let tries = 0; tries < 300 && (await ask()) instanceof SigilError; tries += 1) {
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    for (let at = 0; at < 300; at += 1) {
      const refused = await sigil.audit.listFrozenChains({}).catch(SigilError.from);
      expect((refused as SigilError).codeName).to.equal("PERMISSION_DENIED");
    }
    expect(await ask()).to.include({ allowed: true });
    const metrics = await fetch(`${operator}/metrics`);
    return await metrics.text();
  };

  const end = async (child: ChildProcess): Promise<void> => {
    const ended = child.exitCode === null ? once(child, "exit") : undefined;
    child.kill("SIGTERM");
    await ended;
    expect([child.exitCode, child.signalCode]).to.deep.equal([0, null]);
  };

  it("serves on a full device, says what waits, and stops", async () => {
    const full = openSync("/dev/full", "w");
    const server = await start(full, () => {});
    closeSync(full);
    try {
      const metrics = await answers(server);
      expect(Number(/^sigil_log_queue_bytes (\d+)$/m.exec(metrics)?.[1])).to.be.above(0);
      expect(metrics).to.match(/^sigil_log_lines_lost_total \d+$/m);
      await end(server.child);
    } finally {
      server.child.kill("SIGKILL");
    }
  });

  it("serves into a pipe that nobody reads, and stops", async () => {
    const server = await start("pipe", ({ stdout }) => stdout?.pause());
    try {
      await answers(server);
      await end(server.child);
    } finally {
      server.child.kill("SIGKILL");
    }
  });

  it("serves when its reader has left, counts what is lost, and stops", async () => {
    const server = await start("pipe", ({ stdout }) => stdout?.destroy());
    try {
      const metrics = await answers(server);
      expect(Number(/^sigil_log_lines_lost_total (\d+)$/m.exec(metrics)?.[1])).to.be.above(10);
      await end(server.child);
    } finally {
      server.child.kill("SIGKILL");
    }
  });
});
