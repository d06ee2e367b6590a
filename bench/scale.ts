/**
 * `npm run bench:scale -- --count 1000000 --before DIR`: a ledger of so many decisions of fifty callers, every tenth of
 * another tenant, and what it costs to make, start, inspect, back up and restore it; the load of checks and batches
 * beside that of a new ledger. With `--before`, a checkout of another commit with its packages installed, each step is
 * taken by both in turn, each with a ledger that its own code has made, and speeds are ratios of the two. Prints a line
 * of JSON a step, with its rate, its processor time and the peak of its memory (Linux). A million take 5 GB of disk a
 * side. Exit code 0 only if every step holds.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { readOptions } from "../test/campaigns/options.ts";
import { startActor } from "./actor.ts";
import { measureCommand, type Measured } from "./command.ts";
import { runClient } from "./measure.ts";
import { makeScratch, variedLike, type Scratch } from "./scratch.ts";
import { measure, ratioOf } from "./statistics.ts";

const steps = ["start", "fsck", "backup", "restore", "load"] as const;
type Step = (typeof steps)[number];

const { values, refuse } = readOptions(
  "bench:scale [--count N] [--before DIR] [--rounds N] [--only STEP]… [--directory DIR]",
  "--count 100000",
  {
    count: { type: "string", default: "20000" },
    before: { type: "string" },
    rounds: { type: "string", default: "1" },
    only: { type: "string", multiple: true, default: [...steps] },
    directory: { type: "string", default: tmpdir() },
  },
);
const [count, rounds] = [Number(values.count), Number(values.rounds)];
if (![count, rounds].every((each) => Number.isInteger(each) && each > 0)) refuse();
if (!values.only.every((name) => steps.some((step) => step === name))) refuse();
const does = (step: Step): boolean => values.only.includes(step);

type Side = { readonly name: "after" | "before"; readonly checkout: string };
/** What is needed of a checkout's own code: ledgers of one format are not another's. */
type Maker = Pick<typeof import("./scratch.ts"), "makeScratch" | "openScratch" | "sampleRecord">;
const makerOf = async ({ checkout }: Side): Promise<Maker> =>
  (await import(pathToFileURL(join(checkout, "bench", "scratch.ts")).href)) as Maker;
const after: Side = { name: "after", checkout: resolve(import.meta.dirname, "..") };
const sides: readonly Side[] =
  values.before === undefined ? [after] : [{ name: "before", checkout: resolve(values.before) }, after];

const say = (line: object): void => console.log(JSON.stringify(line));
const rate = (ms: number): number => Math.round((count * 1000) / ms);

/** Bytes that this process has caused to be written to disk; 0 where the system does not tell. */
const bytesWritten = (): number => {
  try {
    const [, bytes] = /^write_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8")) ?? [];
    return Number(bytes ?? 0);
  } catch {
    return 0;
  }
};

const bytesOf = async (directory: string): Promise<number> => {
  const sizes = (await readdir(directory)).map(async (name) => (await stat(join(directory, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
};

const fill = async (side: Side, directory: string): Promise<Scratch> => {
  const { makeScratch, openScratch, sampleRecord } = await makerOf(side);
  const scratch = await makeScratch(directory, side.name);
  await writeFile(join(directory, `${side.name}.root.pem`), scratch.rootPrivateKey, { mode: 0o600 });
  const ledger = await openScratch(scratch);
  const { body, disclosures } = await sampleRecord(scratch, ledger);
  const next = variedLike(body);
  const [batch, together] = [250, 4];
  const [fromMs, before, usage] = [performance.now(), bytesWritten(), process.cpuUsage()];
  let left = count;
  const work = async (): Promise<void> => {
    while (left > 0) {
      const bodies = Array.from({ length: Math.min(batch, left) }, next);
      left -= bodies.length;
      await ledger.append(bodies, { disclosures: bodies.map(() => disclosures) });
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  const { user, system } = process.cpuUsage(usage);
  const ms = performance.now() - fromMs;
  await ledger.close();
  const [written, stays] = [bytesWritten() - before, await bytesOf(join(scratch.directory, "ledger"))];
  const each = { writtenBytes: Math.round(written / count), staysBytes: Math.round(stays / count) };
  const ratio = Number((written / stays).toFixed(2));
  const cpuUs = Math.round((user + system) / count);
  say({ step: "fill", side: side.name, perSecond: rate(ms), cpuUs, ...each, ratio });
  return scratch;
};

const took = new Map<string, { readonly ms: number[]; readonly cpuMs: number[] }>();

const keep = (step: Step, side: Side, measured: Measured): void => {
  const { exitCode, ms, cpuMs, peakMib } = measured;
  if (exitCode !== 0) process.exitCode = 1;
  const of = took.get(`${step} ${side.name}`) ?? { ms: [], cpuMs: [] };
  took.set(`${step} ${side.name}`, of);
  of.ms.push(ms);
  of.cpuMs.push(cpuMs);
  const rounded = { ms: Math.round(ms), perSecond: rate(ms), cpuUs: Math.round((cpuMs * 1000) / count) };
  say({ step, side: side.name, exitCode, ...rounded, peakMib });
};

const serving = (side: Side, scratch: Scratch) =>
  startActor(join(side.checkout, "bench", "serve-sigil.ts"), scratch);

type Filled = Side & { readonly scratch: Scratch };

const takeRound = async (directory: string, filled: readonly Filled[], turn: number): Promise<void> => {
  for (const at of filled.keys()) {
    const side = filled[(at + turn) % filled.length] as Filled;
    const { checkout, scratch, name } = side;
    const at0 = { cwd: directory, checkout };
    if (does("start")) {
      await using server = serving(side, scratch);
      const ms = await server.ask<number>("startMs");
      const { cpuUs, rssBytes } = await server.usage();
      keep("start", side, { exitCode: 0, ms, cpuMs: cpuUs / 1000, peakMib: Math.round(rssBytes / 2 ** 20) });
    }
    if (does("fsck")) {
      keep("fsck", side, await measureCommand(["fsck", "--data", scratch.directory], at0));
    }
    if (!does("backup") && !does("restore")) continue;
    {
      await using server = serving(side, scratch);
      const target = await server.ask<string>("target");
      const words = ["backup", "--to", "backup", "--key", `${name}.root.pem`, "--principal", "root"];
      keep("backup", side, await measureCommand(words, { ...at0, server: target }));
    }
    if (does("restore")) {
      const words = ["restore", "--from", "backup", "--data", "restored", "--kek", `file:${name}.kek`];
      keep("restore", side, await measureCommand(words, at0));
    }
    await rm(join(directory, "backup"), { recursive: true, force: true });
    await rm(join(directory, "restored"), { recursive: true, force: true });
  }
};

/** Checks and batches of the long ledger beside those of a new one, by the same server. */
const compareLoads = async (scratch: Scratch, fresh: Scratch): Promise<void> => {
  await using long = serving(after, scratch);
  await using short = serving(after, fresh);
  const loads = { Check: { rpc: "check", inFlight: 64 }, BatchCheck: { rpc: "batch", inFlight: 8 } } as const;
  for (const [name, load] of Object.entries(loads)) {
    const found = { long: [] as number[], short: [] as number[] };
    for (let turn = 0; turn < 7; turn += 1) {
      for (const which of turn % 2 === 0 ? (["long", "short"] as const) : (["short", "long"] as const)) {
        const [server, of] = which === "long" ? [long, scratch] : [short, fresh];
        const { cpuUs } = await runClient(server, of, load, { warmUpMs: 500, runMs: 2000 });
        found[which].push(cpuUs);
      }
    }
    const { median, low, high } = ratioOf(measure(found.short), measure(found.long));
    const [speed, from, to] = [median, low, high].map((value) => Number(value.toFixed(3)));
    say({ step: "load", rpc: name, speedByProcessorTime: speed, from, to });
  }
};

const directory = await mkdtemp(join(values.directory, "sigil-bench-scale-"));
try {
  const filled: Filled[] = [];
  for (const side of sides) filled.push({ ...side, scratch: await fill(side, directory) });
  for (let turn = 0; turn < rounds; turn += 1) {
    // What was written before does not disturb what is read now.
    spawnSync("sync");
    await takeRound(directory, filled, turn);
  }
  for (const step of sides.length === 2 ? steps : []) {
    const [before, now] = [took.get(`${step} before`), took.get(`${step} after`)];
    if (before === undefined || now === undefined) continue;
    const speedOf = (what: "ms" | "cpuMs"): number =>
      Number(ratioOf(measure(before[what]), measure(now[what])).median.toFixed(2));
    say({ step, speed: speedOf("ms"), speedByProcessorTime: speedOf("cpuMs") });
  }
  const own = filled.find(({ name }) => name === "after");
  if (does("load") && own !== undefined) await compareLoads(own.scratch, await makeScratch(directory, "new"));
} finally {
  await rm(directory, { recursive: true, force: true });
}
