/** The benchmarks: which processes run, in which order, and what is measured. */
import { join } from "node:path";
import { startActor, type Actor, type Usage } from "./actor.ts";
import type { Drive, Driven, DriveInput } from "./drive-calls.ts";
import type { LedgerDrive, LedgerDriven } from "./drive-ledger.ts";
import type { LevelDrive, LevelDriven, LevelInput } from "./drive-level.ts";
import type { MemorySample, PartCosts, Profiles, StartTimes, Throughput } from "./results.ts";
import { makeScratch, type Scratch } from "./scratch.ts";
import { measure } from "./statistics.ts";
import type { PartsInput, PartsWeighing } from "./weigh-parts.ts";

export type Scale = {
  readonly runs: number;
  readonly warmUpMs: number;
  readonly runMs: number;
  /** Groups written per run of plain `level`. */
  readonly levelGroups: number;
  /** Groups per round of the parts. */
  readonly partGroups: number;
  /** Ledger sizes at which memory is measured. */
  readonly memoryDecisions: readonly number[];
  readonly smallLedgerRecords: number;
  readonly starts: number;
  /** Runs of each module per round of the sandbox alone. */
  readonly sandboxRuns: number;
};

export type Say = (line: string) => void;

const unaryInFlight = 64;
const batchesInFlight = 8;
const ledgerWaiters = 512;

const check = { rpc: "check", inFlight: unaryInFlight } as const;
const batch = { rpc: "batch", inFlight: batchesInFlight } as const;

const startClient = (scratch: Scratch, target: string): Actor =>
  startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);

/** Result of one run: throughput, and CPU of the process under test. */
type Run = { readonly perSecond: number; readonly cpuUs: number };

const perSecond = (count: number, elapsedMs: number): number => (count * 1000) / elapsedMs;

/** Runs a fresh client process, after a warm-up, against a running server. */
export const runClient = async (
  server: Actor,
  scratch: Scratch,
  load: Pick<Drive, "rpc" | "inFlight">,
  { warmUpMs, runMs }: Pick<Scale, "warmUpMs" | "runMs">,
): Promise<Run & Driven> => {
  await using client = startClient(scratch, await server.ask<string>("target"));
  await client.ask<Driven>("drive", { ...load, runMs: warmUpMs } satisfies Drive);
  const before = await server.usage();
  const driven = await client.ask<Driven>("drive", { ...load, runMs } satisfies Drive);
  const after = await server.usage();
  return {
    ...driven,
    perSecond: perSecond(driven.decisions, driven.elapsedMs),
    cpuUs: (after.cpuUs - before.cpuUs) / driven.decisions,
  };
};

const runLedger = async (ledger: Actor, { warmUpMs, runMs }: Scale): Promise<Run> => {
  const waiters = ledgerWaiters;
  await ledger.ask("drive", { waiters, runMs: warmUpMs } satisfies LedgerDrive);
  const before = await ledger.usage();
  const driven = await ledger.ask<LedgerDriven>("drive", { waiters, runMs } satisfies LedgerDrive);
  const after = await ledger.usage();
  return {
    perSecond: perSecond(driven.records, driven.elapsedMs),
    cpuUs: (after.cpuUs - before.cpuUs) / driven.records,
  };
};

const runLevel = async (level: Actor, groups: number): Promise<Run> => {
  const driven = await level.ask<LevelDriven>("drive", { groups } satisfies LevelDrive);
  return { perSecond: perSecond(driven.records, driven.elapsedMs), cpuUs: driven.cpuUs / driven.records };
};

/** The reply for the no-op server. */
const sampleReply = async (server: Actor, scratch: Scratch): Promise<unknown> => {
  await using client = startClient(scratch, await server.ask<string>("target"));
  return await client.ask("sample");
};

const median = <Of extends Run>(runs: readonly Of[], of: (run: Of) => number) => measure(runs.map(of));

export const measureThroughput = async (directory: string, scale: Scale, say: Say): Promise<Throughput> => {
  const served = await makeScratch(directory, "served");
  const alone = await makeScratch(directory, "alone");
  await using sigil = startActor("serve-sigil.ts", served);
  await using nothing = startActor("serve-nothing.ts", await sampleReply(sigil, served));
  await using ledger = startActor("drive-ledger.ts", alone);
  const path = join(directory, "level");
  const scratch = await makeScratch(directory, "bare");
  await using level = startActor("drive-level.ts", { scratch, path } satisfies LevelInput);
  await runLevel(level, 2);
  const runs = {
    nothing: [] as Run[],
    check: [] as (Run & Driven)[],
    batch: [] as Run[],
    ledger: [] as Run[],
    level: [] as Run[],
  };
  for (let round = 1; round <= scale.runs; round += 1) {
    say(`throughput, round ${round} of ${scale.runs}`);
    runs.nothing.push(await runClient(nothing, served, check, scale));
    runs.check.push(await runClient(sigil, served, check, scale));
    runs.batch.push(await runClient(sigil, served, batch, scale));
    runs.ledger.push(await runLedger(ledger, scale));
    runs.level.push(await runLevel(level, scale.levelGroups));
  }
  const rate = ({ perSecond }: Run): number => perSecond;
  const cpu = ({ cpuUs }: Run): number => cpuUs;
  return {
    nothingPerSecond: median(runs.nothing, rate),
    checkPerSecond: median(runs.check, rate),
    batchPerSecond: median(runs.batch, rate),
    ledgerPerSecond: median(runs.ledger, rate),
    levelPerSecond: median(runs.level, rate),
    checkMedianMs: median(runs.check, ({ medianMs }) => medianMs),
    checkP99Ms: median(runs.check, ({ p99Ms }) => p99Ms),
    nothingCpuUs: median(runs.nothing, cpu),
    checkCpuUs: median(runs.check, cpu),
    batchCpuUs: median(runs.batch, cpu),
    ledgerCpuUs: median(runs.ledger, cpu),
    levelCpuUs: median(runs.level, cpu),
  };
};

export const measureParts = async (directory: string, scale: Scale, say: Say): Promise<PartCosts> => {
  say("parts of an append");
  const scratch = await makeScratch(directory, "parts");
  const path = join(directory, "parts-level");
  await using parts = startActor("weigh-parts.ts", { scratch, path } satisfies PartsInput);
  const { runs, partGroups: groups } = scale;
  return await parts.ask<PartCosts>("weigh", { runs, groups } satisfies PartsWeighing);
};

const measureStarts = async (scratch: Scratch, starts: number): Promise<StartTimes[number]> => {
  const timesMs: number[] = [];
  let records = 0;
  while (timesMs.length < starts) {
    await using server = startActor("serve-sigil.ts", scratch);
    timesMs.push(await server.ask<number>("startMs"));
    records = await server.ask<number>("size");
  }
  return { records, startMs: measure(timesMs) };
};

/** Memory while a ledger grows through the server, then start time on it and on a small one. */
export const measureMemory = async (
  directory: string,
  scale: Scale,
  say: Say,
): Promise<{ readonly memory: readonly MemorySample[]; readonly starts: StartTimes }> => {
  const small = await makeScratch(directory, "small");
  await using filler = startActor("drive-ledger.ts", small);
  await filler.ask("drive", {
    waiters: ledgerWaiters,
    records: scale.smallLedgerRecords,
  } satisfies LedgerDrive);
  await filler.stop();
  const large = await makeScratch(directory, "large");
  const memory = await watchMemory(large, scale, say);
  say("starts");
  return {
    memory,
    starts: [await measureStarts(small, scale.starts), await measureStarts(large, scale.starts)],
  };
};

const watchMemory = async (scratch: Scratch, scale: Scale, say: Say): Promise<readonly MemorySample[]> => {
  await using server = startActor("serve-sigil.ts", scratch);
  await using client = startClient(scratch, await server.ask<string>("target"));
  const samples: MemorySample[] = [];
  let decisions = 0;
  for (const until of scale.memoryDecisions) {
    const driven = await client.ask<Driven>("drive", {
      ...batch,
      decisions: until - decisions,
    } satisfies Drive);
    decisions += driven.decisions;
    const { rssBytes, anonymousBytes, heapUsedBytes } = await server.ask<Usage>("usage", { collect: true });
    say(`memory after ${decisions} decisions: ${Math.round(heapUsedBytes / 2 ** 20)} MiB of heap`);
    samples.push({ decisions, rssBytes, anonymousBytes, heapUsedBytes });
  }
  return samples;
};

const profileOf = async (
  name: string,
  actor: Actor,
  work: () => Promise<unknown>,
): Promise<Profiles[number]> => {
  const before = await actor.usage();
  const sum = await actor.profile(work);
  const after = await actor.usage();
  return { name, sum, processCpuMs: (after.cpuUs - before.cpuUs) / 1000 };
};

export const measureProfiles = async (directory: string, scale: Scale, say: Say): Promise<Profiles> => {
  say("profiles");
  const { warmUpMs, runMs } = scale;
  const served = await makeScratch(directory, "profiled");
  await using sigil = startActor("serve-sigil.ts", served);
  await using client = startClient(served, await sigil.ask<string>("target"));
  const profiles: Profiles[number][] = [];
  for (const [name, load] of [
    ["`Check`, 64 in flight", check],
    ["`BatchCheck` of 100", batch],
  ] as const) {
    await client.ask("drive", { ...load, runMs: warmUpMs } satisfies Drive);
    const work = () => client.ask("drive", { ...load, runMs } satisfies Drive);
    profiles.push(await profileOf(name, sigil, work));
  }
  const alone = await makeScratch(directory, "profiled-alone");
  await using ledger = startActor("drive-ledger.ts", alone);
  const waiters = ledgerWaiters;
  await ledger.ask("drive", { waiters, runMs: warmUpMs } satisfies LedgerDrive);
  const work = () => ledger.ask("drive", { waiters, runMs } satisfies LedgerDrive);
  profiles.push(await profileOf("The ledger alone", ledger, work));
  return profiles;
};
