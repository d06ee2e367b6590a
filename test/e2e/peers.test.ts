/**
 * `npm run bench -- --peers` on this server and on one that does nothing: whether it measures, and whether it ends what
 * it started. The other servers are not built here. Figures of so short a run mean nothing.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { PeerResults } from "../../bench/peers/results.ts";
import { repository, run } from "../../scripts/run.ts";

const sources = join(repository, "bench/peers/loadgen");
const offline = { GOPROXY: "off" };

const listed = await run(["go", "list", "-deps", "-test", "./..."], { cwd: sources, env: offline });
const isMissing = listed.exitCode !== 0;
const why = isMissing
  ? " (skipped: no Go, or no gRPC for it: scripts/services.sh install peers_loadgen)"
  : "";

const command = [join(repository, "bench/bench.ts"), "--peers", "--quick"];
const ownLoads = ["--only", "nothing", "--only", "sigil"];

/** Command lines of processes that name the directory. */
const processesIn = async (directory: string): Promise<readonly string[]> => {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.filter((line) => line.includes(directory));
};

describe(`the comparison with other servers${why}`, function () {
  this.slow(60_000);

  const withDirectory = async (play: (directory: string) => Promise<void>): Promise<void> => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-peers-"));
    try {
      await play(directory);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };

  it("has a generator of load that is formatted, vetted, and fails a run for one wrong answer", async function () {
    if (isMissing) return this.skip();
    for (const words of [
      ["gofmt", "-l", "."],
      ["go", "vet", "./..."],
    ]) {
      const { exitCode, output } = await run(words, { cwd: sources, env: offline });
      expect({ exitCode, output }, words.join(" ")).to.deep.equal({ exitCode: 0, output: "" });
    }
    const { exitCode, output } = await run(["go", "test", "./..."], { cwd: sources, env: offline });
    expect(exitCode, output).to.equal(0);
  });

  it("asks a Sigil and a server that does nothing, and every answer is an allow", async function () {
    if (isMissing) return this.skip();
    await withDirectory(async (directory) => {
      const child = spawn(
        process.execPath,
        [
          ...command,
          ...ownLoads,
          "--only",
          "unary",
          "--only",
          "batch",
          "--only",
          "run",
          "--json",
          `--directory=${directory}`,
        ],
        { env: { ...process.env, ...offline }, stdio: ["ignore", "pipe", "pipe"] },
      );
      const [printed, said, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "exit"),
      ]);
      expect(code, said).to.equal(0);
      const { cells, kept, leftOut } = JSON.parse(printed) as PeerResults;
      expect(leftOut).to.deep.equal([]);
      expect(cells.map(({ server, load, failure }) => [server, load, failure])).to.have.deep.members([
        ["sigil", "unary", undefined],
        ["sigil", "batch", undefined],
        ["sigil-modules", "run", undefined],
        ["nothing", "unary", undefined],
      ]);
      for (const { title, load, full, half } of cells) {
        expect([full.length, half.length], title).to.deep.equal([1, load === "unary" ? 1 : 0]);
        expect(full[0]?.perSecond, title).to.be.above(0);
        expect(full[0]?.rssBytes, title).to.be.above(2 ** 20);
      }
      // A record is signed, sealed and indexed: less would mean that something else was weighed.
      expect(kept.find(({ server }) => server === "sigil")?.bytesEach).to.be.above(300);
      expect(await readdir(directory)).to.deep.equal([]);
      expect(await processesIn(directory)).to.deep.equal([]);
    });
  });

  for (const [signal, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    it(`ends every process and removes every ledger on ${signal}`, async function () {
      if (isMissing) return this.skip();
      await withDirectory(async (directory) => {
        const child = spawn(
          process.execPath,
          [...command, ...ownLoads, "--rounds=50", `--directory=${directory}`],
          { env: { ...process.env, ...offline }, stdio: ["ignore", "ignore", "pipe"] },
        );
        const gone = once(child, "exit");
        for await (const line of createInterface(child.stderr)) if (line.startsWith("round 1 of 50")) break;
        expect(await processesIn(directory)).to.have.length.above(1);
        child.kill(signal);
        const [exitCode] = await gone;
        expect(exitCode).to.equal(code);
        expect(await readdir(directory)).to.deep.equal([]);
        expect(await processesIn(directory)).to.deep.equal([]);
      });
    });
  }

  it("says what it has skipped where there is no Go, and is no failure", async () => {
    const { exitCode, output } = await run([process.execPath, ...command], { env: { PATH: "/nonexistent" } });
    expect(output).to.include("Left out: everything: there is no Go");
    expect(exitCode).to.equal(0);
  });

  it("refuses what it does not know, by the option's name", async () => {
    for (const [words, rule] of [
      [["--only=cerberus"], "--only is one of"],
      [["--rounds=0"], "--rounds is"],
      [["--seconds=fast"], "--seconds is"],
      [["--feed"], "one at a time"],
      [["--write"], "--write needs a full run"],
    ] as const) {
      const { exitCode, output } = await run([process.execPath, ...command, ...words]);
      expect(exitCode, words.join(" ")).to.equal(2);
      expect(output).to.include(rule);
    }
    const { exitCode, output } = await run([process.execPath, ...command, "--help"]);
    expect(exitCode).to.equal(0);
    expect(output).to.include("Examples:").and.include("--before DIR");
  });
});
