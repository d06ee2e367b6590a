/**
 * `npm run bench:packs -- --count 100000`: a ledger of so many decisions of fifty callers, every tenth record of
 * another tenant, exported from a real server as a tiled log, and as an evidence pack, which is verified, each in a
 * process of its own. Prints a line of JSON a step, with its rate and the peak of its memory (Linux). `--only tiles` or
 * `--only pack` does one of the two. Exit code 0 only if the log is whole, and the pack is and verifies.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CborMap } from "@sigil/core/cbor";
import type { RecordBody } from "@sigil/core/record";
import { readOptions } from "../test/campaigns/options.ts";
import { freePorts, serving } from "../test/e2e/command.ts";
import { bodiesLike, makeScratch, openScratch, sampleBody, type Scratch } from "./scratch.ts";

const parts = ["tiles", "pack"];
const { values, refuse } = readOptions("bench:packs [--count N] [--only tiles|pack]", "--count 100000", {
  count: { type: "string", default: "10000" },
  only: { type: "string" },
});
const count = Number(values.count);
if (!Number.isInteger(count) || count < 1) refuse();
const { only } = values;
if (only !== undefined && !parts.includes(only)) refuse();
const does = (part: string): boolean => only === undefined || only === part;

const callers = 50;
const [batch, together] = [250, 4];
const say = (line: object): void => console.log(JSON.stringify(line));
const perSecond = (done: number, fromMs: number): number =>
  Math.round((done * 1000) / (performance.now() - fromMs));

/** As if another caller had made it, or another tenant's. */
const variedLike = (sample: RecordBody): (() => RecordBody) => {
  const next = bodiesLike(sample);
  const { request, ...payload } = sample.payload as CborMap & { readonly request: CborMap };
  let made = 0;
  return () => {
    made += 1;
    const who = `svc-${made % callers}`;
    const tenant = made % 10 === 0 ? "globex" : sample.tenant;
    return { ...next(), tenant, payload: { ...payload, request: { ...request, caller: who, subject: who } } };
  };
};

/** @returns how many decisions of the tenant there are. */
const fill = async (scratch: Scratch): Promise<number> => {
  const ledger = await openScratch(scratch);
  try {
    const next = variedLike(await sampleBody(scratch, ledger));
    const fromMs = performance.now();
    let [left, own] = [count, 1];
    const work = async (): Promise<void> => {
      while (left > 0) {
        const bodies = Array.from({ length: Math.min(batch, left) }, next);
        left -= bodies.length;
        own += bodies.filter(({ tenant }) => tenant === scratch.tenant).length;
        await ledger.append(bodies);
      }
    };
    await Promise.all(Array.from({ length: together }, work));
    say({ step: "fill", records: count, perSecond: perSecond(count, fromMs) });
    return own;
  } finally {
    await ledger.close();
  }
};

/** Only known on Linux, and while the process lives. */
const peakKib = (pid: number | undefined): number => {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib ?? 0);
  } catch {
    return 0;
  }
};

/** Runs a command to its end. @returns its exit code, and the peak of its memory in MiB. */
const measured = async (words: readonly string[], cwd: string, target: string) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../src/main.ts"), ...words], {
    cwd,
    env: { ...process.env, SIGIL_CLIENT_SERVER: target },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const closed = once(child, "close");
  let peak = 0;
  const watching = setInterval(() => (peak = Math.max(peak, peakKib(child.pid))), 100);
  await closed;
  clearInterval(watching);
  return { exitCode: child.exitCode, peakMib: Math.round(peak / 1024) };
};

const bytesOf = async (directory: string): Promise<Readonly<Record<string, number>>> => {
  const names = await readdir(directory);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  return Object.fromEntries(names.map((name, at) => [name, sizes[at] ?? 0]));
};

const directory = await mkdtemp(join(tmpdir(), "sigil-bench-packs-"));
try {
  const scratch = await makeScratch(directory, "ledger");
  const own = await fill(scratch);
  await writeFile(join(directory, "key.pem"), scratch.privateKey, { mode: 0o600 });
  const deployment = await readFile(join(scratch.directory, "deployment.json"), "utf8");
  const { genesis } = JSON.parse(deployment) as { readonly genesis: string };
  {
    await using server = await serving(["serve", "--data", scratch.directory, ...freePorts], {
      cwd: directory,
    });
    const as = ["--key", "key.pem", "--principal", scratch.principal];
    if (does("tiles")) {
      const fromMs = performance.now();
      const made = await measured(["tiles", "export", "--out", "log", ...as], directory, server.target);
      say({ step: "tiles", entries: count, perSecond: perSecond(count, fromMs), ...made });
      if (made.exitCode !== 0) process.exitCode = 1;
    }
    if (does("pack")) {
      const fromMs = performance.now();
      const made = await measured(["audit", "export", "--out", "pack", ...as], directory, server.target);
      say({ step: "export", decisions: own, perSecond: perSecond(own, fromMs), ...made });
      if (made.exitCode !== 0 && made.exitCode !== 1) process.exitCode = 1;
    }
  }
  if (does("pack")) {
    say({ step: "files", bytes: await bytesOf(join(directory, "pack")) });
    const fromMs = performance.now();
    const verified = await measured(["verify", "pack", "--genesis", genesis], directory, "");
    say({ step: "verify", decisions: own, perSecond: perSecond(own, fromMs), ...verified });
    if (verified.exitCode !== 0) process.exitCode = 1;
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
