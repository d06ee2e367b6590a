/**
 * The cost of the sandbox alone, without gRPC, decision and records: sequential runs in one process. Modules that do
 * one thing each separate the parts: one does nothing, one reads a mebibyte, one writes one.
 */
import { sha256 } from "@sigil/core/hash";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import wabt from "wabt";
import type { RunLimits } from "../src/modules/sandbox/limits.ts";
import type { RunOutcome, Sandbox } from "../src/modules/sandbox/run.ts";
import { createSandbox } from "../src/modules/sandbox/pool.ts";
import { answerParent } from "./actor.ts";
import type { SandboxCosts } from "./results.ts";
import { measure } from "./statistics.ts";

export type SandboxWeighing = {
  readonly rounds: number;
  /** Runs of each module per round. */
  readonly runs: number;
};

const mebibyte = 1 << 20;
const limits: RunLimits = {
  wallMs: 5000,
  memoryPages: 64,
  outputBytes: 2 * mebibyte,
  logBytes: 1 << 16,
  inputBytes: 2 * mebibyte,
  hostCalls: 0,
};

type Weighed = { readonly name: string; readonly bytes: Uint8Array; readonly input: Uint8Array };

const none = new Uint8Array(0);

/** An iovec at 0 for a mebibyte at 16. @param call the WASI function. @param fd its descriptor. */
const movesMebibyte = (call: string, fd: number): string => `(module
  (import "wasi_snapshot_preview1" "${call}" (func $move (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (data (i32.const 0) "\\10\\00\\00\\00\\00\\00\\10\\00")
  (func (export "_start") (drop (call $move (i32.const ${fd}) (i32.const 0) (i32.const 1) (i32.const 8)))))`;

const makeModules = async () => {
  const assembler = await wabt();
  const assemble = (name: string, text: string, input = none): Weighed => {
    const module = assembler.parseWat(name, text);
    return { name, bytes: module.toBinary({}).buffer, input };
  };
  const hello = join(import.meta.dirname, "..", "generated", "modules", "hello.wasm");
  return {
    nothing: assemble("nothing", '(module (func (export "_start")))'),
    reads: assemble("reads", movesMebibyte("fd_read", 0), new Uint8Array(mebibyte)),
    writes: assemble("writes", movesMebibyte("fd_write", 1)),
    hello: {
      name: "hello",
      bytes: new Uint8Array(await readFile(hello)),
      input: Buffer.from('{"name":"Ada"}'),
    },
  };
};

const runOnce = async (sandbox: Sandbox, { name, bytes, input }: Weighed): Promise<RunOutcome> => {
  const outcome = await sandbox.run({
    digest: sha256(bytes),
    bytes: () => Promise.resolve(bytes),
    name,
    input,
    capabilities: [],
    limits,
    host: () => Promise.reject(new Error("nothing was granted")),
    signal: new AbortController().signal,
  });
  if (outcome.exit.kind === "exited" && outcome.exit.code === 0) return outcome;
  throw new Error(`${name} did not run: ${JSON.stringify(outcome.exit)}`);
};

type Timed = { readonly wallMs: number; readonly insideMs: number };

/** The mean of `runs` in a row. */
const timeRuns = async (sandbox: Sandbox, module: Weighed, runs: number): Promise<Timed> => {
  const startMs = performance.now();
  let insideMs = 0;
  for (let run = 0; run < runs; run += 1) insideMs += (await runOnce(sandbox, module)).usage.cpuMs;
  return { wallMs: (performance.now() - startMs) / runs, insideMs: insideMs / runs };
};

const openOne = async (): Promise<{ readonly sandbox: Sandbox; readonly startMs: number }> => {
  const startMs = performance.now();
  const sandbox = await createSandbox({
    processes: 1,
    runsMax: 1,
    onFault: (cause) => console.error(cause),
  });
  while (sandbox.gauge.warm === 0) await sleep(1);
  return { sandbox, startMs: performance.now() - startMs };
};

type Round = {
  readonly startMs: number;
  readonly firstMs: number;
  readonly nothing: Timed;
  readonly hello: Timed;
  readonly reads: Timed;
  readonly writes: Timed;
};

const weighRound = async (modules: Awaited<ReturnType<typeof makeModules>>, runs: number): Promise<Round> => {
  const { sandbox, startMs } = await openOne();
  try {
    const { wallMs: firstMs } = await timeRuns(sandbox, modules.hello, 1);
    // Warm-up, until the engine has finished optimizing.
    for (const module of Object.values(modules)) await timeRuns(sandbox, module, Math.ceil(runs / 4));
    return {
      startMs,
      firstMs,
      nothing: await timeRuns(sandbox, modules.nothing, runs),
      hello: await timeRuns(sandbox, modules.hello, runs),
      reads: await timeRuns(sandbox, modules.reads, Math.ceil(runs / 4)),
      writes: await timeRuns(sandbox, modules.writes, Math.ceil(runs / 4)),
    };
  } finally {
    await sandbox[Symbol.asyncDispose]();
  }
};

const weigh = async ({ rounds, runs }: SandboxWeighing): Promise<SandboxCosts> => {
  const modules = await makeModules();
  const done: Round[] = [];
  for (let round = 0; round < rounds; round += 1) done.push(await weighRound(modules, runs));
  const part = (name: string, what: string, of: (round: Round) => number) => ({
    name,
    what,
    ms: measure(done.map(of)),
  });
  return [
    part("Start", "a process, until it waits for a run", ({ startMs }) => startMs),
    part(
      "Compile",
      "the first run of `hello` in a process, less a later one: code handed over, read, metered, compiled",
      ({ firstMs, hello }) => firstMs - hello.wallMs,
    ),
    part(
      "Hand over",
      "there and back for a module that does nothing, its instance included",
      (round) => round.nothing.wallMs,
    ),
    part(
      "Instance",
      "CPU in the process for that module: imports, instance, end",
      (round) => round.nothing.insideMs,
    ),
    part("`hello`, warm", "there and back", (round) => round.hello.wallMs),
    part(
      "`hello`, inside",
      "CPU in the process: instance, memory, the run itself",
      (round) => round.hello.insideMs,
    ),
    part(
      "Copy in",
      "a mebibyte of input, into the module's memory",
      ({ reads, nothing }) => reads.wallMs - nothing.wallMs,
    ),
    part(
      "Copy out",
      "a mebibyte of output, out of it",
      ({ writes, nothing }) => writes.wallMs - nothing.wallMs,
    ),
  ];
};

answerParent({ weigh });
