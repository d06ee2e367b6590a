/** What the benchmarks measure, as `--json` prints it and the page shows it. Units stand last in the names. */
import type { ProfileSum } from "./profile.ts";
import type { Measured } from "./statistics.ts";

/** Interleaved: one run of each in turn, then the next of each. */
export type Throughput = {
  /** Calls a second of a grpc-js server that answers without doing anything. */
  readonly nothingPerSecond: Measured;
  /** Unary `Check` a second. */
  readonly checkPerSecond: Measured;
  /** Decisions a second through `BatchCheck` of 100. */
  readonly batchPerSecond: Measured;
  /** Records a second through `Ledger.append`, without gRPC. */
  readonly ledgerPerSecond: Measured;
  /** Records a second when the very bytes and keys the ledger would write go straight into `level`. */
  readonly levelPerSecond: Measured;
  readonly checkMedianMs: Measured;
  readonly checkP99Ms: Measured;
  /** CPU of the whole process with its thread pool, for one decision or record. */
  readonly nothingCpuUs: Measured;
  readonly checkCpuUs: Measured;
  readonly batchCpuUs: Measured;
  readonly ledgerCpuUs: Measured;
  readonly levelCpuUs: Measured;
};

/** CPU microseconds a record of each step alone, over the same records. */
export type PartCosts = {
  readonly recordBytes: number;
  readonly putsPerRecord: number;
  readonly parts: readonly { readonly name: string; readonly what: string; readonly cpuUs: Measured }[];
};

/** Milliseconds of each part of the sandbox, one run after the other in one process. */
export type SandboxCosts = readonly { readonly name: string; readonly what: string; readonly ms: Measured }[];

/** `Check` and a warm `Run` of `hello` on one server, interleaved. */
export type ModuleRuns = {
  readonly inFlight: number;
  readonly checkPerSecond: Measured;
  readonly runPerSecond: Measured;
  /** CPU of the server's process with its thread pool; the sandbox has processes of its own. */
  readonly checkCpuUs: Measured;
  readonly runCpuUs: Measured;
  readonly runMedianMs: Measured;
  readonly runP99Ms: Measured;
  readonly sandbox: SandboxCosts;
};

export type MemorySample = {
  readonly decisions: number;
  readonly rssBytes: number;
  /** Resident memory that is no file: without LevelDB's mapped tables. 0 where the system does not say. */
  readonly anonymousBytes: number;
  readonly heapUsedBytes: number;
};

export type StartTimes = readonly { readonly records: number; readonly startMs: Measured }[];

/** Where the event loop's time went, by benchmark. */
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

/** Groups that were not run are missing. */
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
