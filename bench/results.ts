/** Results of the benchmarks, as printed by `--json` and shown on the page. Names end in units. */
import type { ProfileSum } from "./profile.ts";
import type { Measured } from "./statistics.ts";

/** Interleaved: one run of each, then the next of each. */
export type Throughput = {
  /** Calls a second of a no-op grpc-js server. */
  readonly nothingPerSecond: Measured;
  /** Unary `Check` a second. */
  readonly checkPerSecond: Measured;
  /** Decisions a second through `BatchCheck` of 100. */
  readonly batchPerSecond: Measured;
  /** Records a second through `Ledger.append`, without gRPC. */
  readonly ledgerPerSecond: Measured;
  /** Records a second when the ledger's bytes and keys are written directly to `level`. */
  readonly levelPerSecond: Measured;
  readonly checkMedianMs: Measured;
  readonly checkP99Ms: Measured;
  /** CPU of the whole process with its thread pool, per decision or record. */
  readonly nothingCpuUs: Measured;
  readonly checkCpuUs: Measured;
  readonly batchCpuUs: Measured;
  readonly ledgerCpuUs: Measured;
  readonly levelCpuUs: Measured;
};

/** CPU microseconds per record of each step alone, over the same records. */
export type PartCosts = {
  readonly recordBytes: number;
  readonly putsPerRecord: number;
  readonly parts: readonly { readonly name: string; readonly what: string; readonly cpuUs: Measured }[];
};

/** Milliseconds of each part of the sandbox, with sequential runs in one process. */
export type SandboxCosts = readonly { readonly name: string; readonly what: string; readonly ms: Measured }[];

/** `Check` and a warm `Run` of `hello` on one server, interleaved. */
export type ModuleRuns = {
  readonly inFlight: number;
  readonly checkPerSecond: Measured;
  readonly runPerSecond: Measured;
  /** CPU of the server's process with its thread pool; the sandbox runs in separate processes. */
  readonly checkCpuUs: Measured;
  readonly runCpuUs: Measured;
  readonly runMedianMs: Measured;
  readonly runP99Ms: Measured;
  readonly sandbox: SandboxCosts;
};

export type MemorySample = {
  readonly decisions: number;
  readonly rssBytes: number;
  /** Anonymous resident memory, without LevelDB's mapped tables. 0 if the system does not tell. */
  readonly anonymousBytes: number;
  readonly heapUsedBytes: number;
};

export type StartTimes = readonly { readonly records: number; readonly startMs: Measured }[];

/** Profile of the event loop, by benchmark. */
export type Profiles = readonly {
  readonly name: string;
  readonly sum: ProfileSum;
  /** CPU of the whole process while the profile ran. */
  readonly processCpuMs: number;
}[];

export type Machine = {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly fileSystem: string;
  readonly startedAt: string;
};

/** Benchmarks that were not run are absent. */
export type Results = {
  readonly machine: Machine;
  readonly runs: number;
  readonly throughput?: Throughput;
  readonly parts?: PartCosts;
  readonly modules?: ModuleRuns;
  readonly memory?: readonly MemorySample[];
  readonly starts?: StartTimes;
  readonly profiles?: Profiles;
};

export type Target = {
  readonly name: string;
  readonly wanted: string;
  readonly measured: string;
  readonly isMet: boolean;
};
