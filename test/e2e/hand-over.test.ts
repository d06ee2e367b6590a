/** One process standing for another: bin/sigil.js under an older Node, and npm in front of the command line. */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, sigilHere } from "./command.ts";

const root = resolve(import.meta.dirname, "../..");

/** As an older Node does it, by the same code under this one. */
const handingOver = `
const { handOver } = await import(${JSON.stringify(join(root, "bin/hand-over.js"))});
handOver(process.execPath, ${JSON.stringify(join(root, "bin/handed-over.js"))}, process.argv.slice(1));`;

const piped: StdioOptions = ["ignore", "pipe", "pipe"];

const handOver = (words: readonly string[], cwd: string): ChildProcess =>
  spawn(process.execPath, ["--input-type=module", "-e", handingOver, "--", ...words], { cwd, stdio: piped });

const npmRun = (words: readonly string[]): ChildProcess =>
  spawn("npm", ["run", "--silent", "sigil", "--", ...words], { cwd: root, stdio: piped });

const childrenOf = (pid: number | undefined): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

const lives = (pid: number): boolean => {
  try {
    // A zombie, which nobody has waited for yet, is gone.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

const gone = async (pid: number): Promise<void> => {
  while (lives(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** The end of a branch of processes, each with one child: who does the work. */
const last = (pid: number | undefined): number => {
  const [child] = childrenOf(pid);
  return child === undefined ? Number(pid) : last(child);
};

const untilServing = async (child: ChildProcess): Promise<void> => {
  if (child.stdout === null) throw new Error("no output");
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('"msg":"serving"')) break;
  }
  child.stdout.resume();
};

describe("a command that stands for another", function () {
  this.slow(10_000);

  let cwd: string;
  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-hand-over-"));
    await sigilHere(["init", "--data", "data", "--dev"], { cwd });
  });
  after(() => rm(cwd, { recursive: true, force: true }));

  const serveWords = () => ["serve", "--data", join(cwd, "data"), ...freePorts];
  const commands: readonly (readonly [string, () => ChildProcess])[] = [
    ["bin/sigil.js", () => handOver(serveWords(), cwd)],
    ["npm run sigil", () => npmRun(serveWords())],
  ];

  for (const [name, start] of commands) {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it(`stops the server when ${name} gets ${signal}, and ends as it ends`, async () => {
        const child = start();
        await untilServing(child);
        const server = last(child.pid);
        expect(server).to.not.equal(child.pid);
        child.kill(signal);
        const [code] = (await once(child, "exit")) as [number | null];
        expect(code).to.equal(0);
        await gone(server);
      });
    }
  }

  it("leaves no server behind when it is killed itself", async () => {
    const child = handOver(serveWords(), cwd);
    await untilServing(child);
    const server = last(child.pid);
    child.kill("SIGKILL");
    await once(child, "exit");
    await gone(server);
    expect((await sigilHere(["fsck", "--data", "data"], { cwd })).output).to.include("CLEAN");
  });

  it("ends by the signal that ended the other", async () => {
    const child = handOver(serveWords(), cwd);
    await untilServing(child);
    process.kill(last(child.pid), "SIGKILL");
    expect(await once(child, "exit")).to.deep.equal([null, "SIGKILL"]);
  });

  it("hands over words, output and the exit code", async () => {
    const child = handOver(["cheque"], cwd);
    let problems = "";
    child.stderr?.on("data", (part: Buffer) => (problems += part.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    expect([code, problems]).to.deep.equal([
      2,
      'sigil: "cheque" is not a command; did you mean "check"? See: sigil --help\n',
    ]);
  });
});
