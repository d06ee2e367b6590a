/** The log's queue in front of a destination that fails: it never blocks, never throws, and counts what is lost. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { once } from "node:events";
import { expect } from "chai";
import { describe, it } from "mocha";
import { QueuedDestination, type WriteSome } from "../../../src/log/destination.ts";
import { logQueueBytesMax } from "../../../src/limits.ts";

const failure = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });

/** A destination that takes `room` bytes a write, or fails with `code` while there is one. */
const disk = () => {
  const state = { text: "", code: undefined as string | undefined, roomBytes: Infinity };
  const writeSome: WriteSome = (bytes, done) => {
    setImmediate(() => {
      if (state.code !== undefined) return done(failure(state.code), 0);
      const taken = bytes.subarray(0, Math.min(bytes.length, state.roomBytes));
      state.text += taken.toString();
      return done(null, taken.length);
    });
  };
  return { state, writeSome };
};

const line = (name: string | number): string => `{"line":"${name}"}\n`;
const fill = "x".repeat(1000);

describe("the log's destination", () => {
  for (const code of ["ENOSPC", "EAGAIN", "EDQUOT", "EIO"]) {
    it(`keeps lines while it answers ${code}, and writes them in order when it takes them again`, async () => {
      const { state, writeSome } = disk();
      const log = new QueuedDestination(writeSome, () => 0, 1);
      log.write(line(0));
      state.code = code;
      for (let at = 1; at < 50; at += 1) log.write(line(at));
      await log.flush(20);
      expect(state.text).to.equal("");
      state.code = undefined;
      await log.flush(5000);
      expect(state.text).to.equal(Array.from({ length: 50 }, (_, at) => line(at)).join(""));
      expect(log.gauge).to.deep.equal({ linesLost: 0, queuedBytes: 0 });
    });
  }

  it("holds no more than its bound, and says how many lines are missing where they are missing", async () => {
    const { state, writeSome } = disk();
    const log = new QueuedDestination(writeSome, () => 0, 1);
    state.code = "ENOSPC";
    const count = 3000;
    for (let at = 0; at < count; at += 1) log.write(line(`${at}${fill}`));
    expect(log.gauge.queuedBytes)
      .to.be.at.most(logQueueBytesMax)
      .and.above(logQueueBytesMax - 2000);
    const { linesLost } = log.gauge;
    expect(linesLost).to.be.above(1000);
    state.code = undefined;
    await log.flush(5000);
    const lines = state.text.trimEnd().split("\n");
    expect(lines).to.have.length(count - linesLost + 1);
    expect(JSON.parse(lines.at(-1) ?? "")).to.include({
      level: "warn",
      lines: linesLost,
      msg: "log lines were lost",
    });
    log.write(line("after"));
    await log.flush(5000);
    expect(state.text.endsWith(line("after"))).to.equal(true);
    expect(state.text.split("log lines were lost")).to.have.length(2);
  });

  it("writes every byte once where a write takes only a part", async () => {
    const { state, writeSome } = disk();
    state.roomBytes = 7;
    const log = new QueuedDestination(writeSome, () => 0, 1);
    for (let at = 0; at < 20; at += 1) log.write(line(at));
    await log.flush(5000);
    expect(state.text).to.equal(Array.from({ length: 20 }, (_, at) => line(at)).join(""));
  });

  it("counts everything as lost once its reader is gone, and tries no more", async () => {
    const { state, writeSome } = disk();
    const log = new QueuedDestination(writeSome, () => 0, 1);
    state.code = "EPIPE";
    for (let at = 0; at < 5; at += 1) log.write(line(at));
    await log.flush(5000);
    log.write(line(5));
    expect(log.gauge).to.deep.equal({ linesLost: 6, queuedBytes: 0 });
  });
});

const program = `
import { standardDestination } from "./src/log/destination.ts";
import { createLog } from "./src/log/log.ts";
const destination = standardDestination();
const log = createLog({ level: "info", stream: destination });
let turns = 0;
setInterval(() => (turns += 1), 1).unref();
for (let at = 0; at < 5000; at += 1) log.info({ at, fill: "${fill}" }, "line");
await new Promise((done) => setTimeout(done, 200));
log.info("last");
const { linesLost } = destination.gauge;
await destination.flush(300);
process.stderr.write(JSON.stringify({ turns: turns > 0, linesLost }));
`;

const run = (stdout: number | "pipe") =>
  spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", stdout, "pipe"] });

describe("a process whose log goes", () => {
  const endOf = async (child: ReturnType<typeof run>) => {
    let said = "";
    child.stderr?.on("data", (part: Buffer) => (said += part.toString()));
    await once(child, "close");
    const told = JSON.parse(said) as { readonly turns: boolean; readonly linesLost: number };
    return { exitCode: child.exitCode, ...told };
  };

  it("to a pipe that nobody reads goes on, and ends", async () => {
    const child = run("pipe");
    child.stdout?.pause();
    await once(child, "exit");
    child.stdout?.destroy();
    expect(child.exitCode).to.equal(0);
  });

  it("to a pipe whose reader leaves goes on, and counts", async () => {
    const child = run("pipe");
    child.stdout?.once("data", () => child.stdout?.destroy());
    expect(await endOf(child)).to.deep.include({ exitCode: 0, turns: true });
  });

  it("to a full device goes on, and counts", async () => {
    const full = openSync("/dev/full", "w");
    try {
      const end = await endOf(run(full));
      expect(end).to.deep.include({ exitCode: 0, turns: true });
      expect(end.linesLost).to.be.above(1000);
    } finally {
      closeSync(full);
    }
  });

  it("to a reader gets every line, the last as well", async () => {
    const child = run("pipe");
    let text = "";
    child.stdout?.on("data", (part: Buffer) => (text += part.toString()));
    const end = await endOf(child);
    const lines = text.trimEnd().split("\n");
    expect(lines).to.have.length(5001 - end.linesLost + (end.linesLost > 0 ? 1 : 0));
    expect(lines.at(-1)).to.contain("last");
  });
});
