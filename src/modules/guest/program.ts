/** Modules in a sandbox process: compiled once, instantiated per run. */
import { describeError, SigilFault } from "../../errors.ts";
import { fromProcess } from "../sandbox/protocol.ts";
import { inspectModule, type Inspection } from "../sandbox/inspect-module.ts";
import { checkModule } from "../sandbox/limits.ts";
import type { RunExit } from "../sandbox/run.ts";
import type { EndedReport, LoadTask, RunTask } from "../sandbox/tasks.ts";
import { approvedCode } from "../wasm/bounds.ts";
import { budgetExport, chargeOf, meterMemory, overdrawn, pageBytes, startExport } from "../wasm/meter.ts";
import { parseWasm } from "../wasm/sections.ts";
import { hostImports } from "./asking.ts";
import type { Channel } from "./channel.ts";
import { fixedClock, realClock } from "./clock.ts";
import { exitOf } from "./ending.ts";
import { GuestMemory } from "./memory.ts";
import { GuestOutput } from "./output.ts";
import { realRandom, seededRandom } from "./random.ts";
import { wasiImports } from "./wasi.ts";

export type Program = {
  readonly module: WebAssembly.Module;
  /** Initial bytes of all memories and tables. */
  readonly startBytes: number;
};

/** A copy with its own unshared buffer, as the engine requires. */
const owned = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(bytes);

const compile = (bytes: Uint8Array): WebAssembly.Module => {
  try {
    return new WebAssembly.Module(owned(bytes));
  } catch (cause) {
    const rule =
      cause instanceof Error ? cause.message.replace(/^WebAssembly\.Module\(\): /, "") : "is not valid";
    const offset = Number(/@\+(\d+)/.exec(rule)?.[1] ?? 0);
    throw new SigilFault({ kind: "malformedModule", offset, rule: rule.replace(/ @\+\d+$/, "") });
  }
};

/** Parses a module and has the engine validate it. @throws malformedModule, tooLarge. */
export const inspectProgram = (bytes: Uint8Array): Inspection => {
  const inspection = inspectModule(bytes);
  compile(bytes);
  return inspection;
};

/** @returns the program, or the rule it breaks if it may not run with these capabilities and limits. */
export const loadProgram = (bytes: Uint8Array, { capabilities, limits }: LoadTask): Program | string => {
  try {
    checkModule(inspectModule(bytes, approvedCode), capabilities, limits);
    const module = parseWasm(bytes, approvedCode);
    return { module: compile(meterMemory(module, limits.memoryPages)), startBytes: chargeOf(module) };
  } catch (cause) {
    if (cause instanceof SigilFault) return describeError(cause.error);
    throw cause;
  }
};

type Exports = Readonly<Record<string, unknown>>;
type Budget = { readonly isOver: boolean; readonly usedBytes: number };

const readBudget = (exports: Exports | undefined, { startBytes }: Program, pages: number): Budget => {
  const budget = exports?.[budgetExport];
  if (!(budget instanceof WebAssembly.Global)) return { isOver: false, usedBytes: startBytes };
  const left = budget.value as bigint;
  const isOver = left < 0n;
  return { isOver, usedBytes: pages * pageBytes - Number(isOver ? left + overdrawn : left) };
};

/** Calls an exported function; does nothing if it is not exported. */
const call = (exports: Exports, name: string): void => {
  const found = exports[name];
  if (typeof found === "function") Reflect.apply(found, undefined, []);
};

/** The environment of one run. */
const surround = (channel: Channel, task: RunTask, input: Uint8Array) => {
  const { limits, capabilities, isStreamed } = task;
  const memory = new GuestMemory();
  const output = new GuestOutput({
    channel,
    kind: fromProcess.output,
    limit: "output",
    bytesMax: limits.outputBytes,
    isStreamed,
  });
  const log = new GuestOutput({
    channel,
    kind: fromProcess.log,
    limit: "log",
    bytesMax: limits.logBytes,
    isStreamed,
  });
  const flush = (): void => {
    output.flush();
    log.flush();
  };
  const clock = capabilities.includes("clock") ? realClock() : fixedClock();
  const clockOfModule = {
    now: clock.now,
    sleep: (nanoseconds: bigint) => (flush(), clock.sleep(nanoseconds)),
  };
  const random = capabilities.includes("random") ? realRandom : seededRandom(input);
  const imports = {
    wasi_snapshot_preview1: wasiImports({
      memory,
      name: task.name,
      input,
      output,
      log,
      clock: clockOfModule,
      random,
    }),
    sigil_v1: hostImports({ channel, memory, hostCallsMax: limits.hostCalls, flush }),
  };
  return { memory, imports, flush };
};

/** Runs a fresh instance to its end. All its output is sent when this returns. */
export const runProgram = (
  channel: Channel,
  program: Program,
  task: RunTask,
  input: Uint8Array,
): EndedReport => {
  const before = process.cpuUsage();
  const { memory, imports, flush } = surround(channel, task, input);
  let exports: Exports | undefined;
  let exit: RunExit = { kind: "exited", code: 0 };
  try {
    exports = new WebAssembly.Instance(program.module, imports).exports;
    if (exports["memory"] instanceof WebAssembly.Memory) memory.attach(exports["memory"]);
    call(exports, startExport);
    call(exports, "_start");
  } catch (cause) {
    exit = exitOf(cause, readBudget(exports, program, task.limits.memoryPages).isOver);
  }
  flush();
  const { user, system } = process.cpuUsage();
  return {
    exit,
    cpuUs: user + system - before.user - before.system,
    processCpuUs: user + system,
    memoryBytes: readBudget(exports, program, task.limits.memoryPages).usedBytes,
  };
};
