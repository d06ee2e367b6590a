/**
 * Payload of `module_run`: one run of a module, including denied, refused and killed ones. Written only by the server.
 * Input, output and log are recorded by digest and length only. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyTextField,
  exactMap,
  hashField,
  hashOrNullField,
  oneOfField,
  refuseField,
  textField,
  uintField,
} from "../fields.ts";

/** With `denied` and `refused` no code ran. */
export const runEnds = ["denied", "refused", "exited", "trapped", "killed", "crashed"] as const;
export type RunEnd = (typeof runEnds)[number];

export interface ModuleRunLimits {
  readonly wallMs: number;
  readonly memoryPages: number;
  readonly outputBytes: number;
  readonly logBytes: number;
  readonly inputBytes: number;
  readonly hostCalls: number;
}

export interface ModuleRunUsage {
  readonly wallUs: number;
  readonly cpuUs: number;
  readonly memoryBytesPeak: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly logBytes: number;
  readonly hostCalls: number;
}

export interface ModuleRunPayload {
  /** Id of the module's record. */
  readonly module: string;
  /** Version of that record. */
  readonly version: number;
  /** SHA-256 of the code that a quorum approved. */
  readonly digest: Hash;
  /** SHA-256 requested or found on disk, if it differs. */
  readonly otherDigest: Hash | null;
  /** Id of the calling principal; "" is the anonymous guest. */
  readonly caller: string;
  readonly inputDigest: Hash;
  readonly inputBytes: number;
  /** Null if nothing ran. Includes what a killed run wrote before it was killed. */
  readonly outputDigest: Hash | null;
  readonly limits: ModuleRunLimits;
  /** Null if nothing ran. */
  readonly usage: ModuleRunUsage | null;
  readonly end: RunEnd;
  /** Argument of proc_exit; null unless it exited. */
  readonly exitCode: number | null;
  /** Why it did not exit; "" if it did. */
  readonly reason: string;
}

const path = "payload";
const runKeys = [
  "module",
  "version",
  "digest",
  "other_digest",
  "caller",
  "input_digest",
  "input_bytes",
  "output_digest",
  "limits",
  "usage",
  "end",
  "exit_code",
  "reason",
];
const limitKeys = ["wall_ms", "memory_pages", "output_bytes", "log_bytes", "input_bytes", "host_calls"];
const usageKeys = [
  "wall_us",
  "cpu_us",
  "memory_bytes_peak",
  "input_bytes",
  "output_bytes",
  "log_bytes",
  "host_calls",
];

const readLimits = (value: CborValue | undefined): ModuleRunLimits => {
  const limitsPath = `${path}.limits`;
  const map = exactMap(value, limitsPath, limitKeys);
  return {
    wallMs: uintField(map, limitsPath, "wall_ms"),
    memoryPages: uintField(map, limitsPath, "memory_pages"),
    outputBytes: uintField(map, limitsPath, "output_bytes"),
    logBytes: uintField(map, limitsPath, "log_bytes"),
    inputBytes: uintField(map, limitsPath, "input_bytes"),
    hostCalls: uintField(map, limitsPath, "host_calls"),
  };
};

const readUsage = (value: CborValue | undefined): ModuleRunUsage | null => {
  if (value === null) return null;
  const usagePath = `${path}.usage`;
  const map = exactMap(value, usagePath, usageKeys);
  return {
    wallUs: uintField(map, usagePath, "wall_us"),
    cpuUs: uintField(map, usagePath, "cpu_us"),
    memoryBytesPeak: uintField(map, usagePath, "memory_bytes_peak"),
    inputBytes: uintField(map, usagePath, "input_bytes"),
    outputBytes: uintField(map, usagePath, "output_bytes"),
    logBytes: uintField(map, usagePath, "log_bytes"),
    hostCalls: uintField(map, usagePath, "host_calls"),
  };
};

const exitCodeMax = 2 ** 32 - 1;

/** Runs have usage and an output digest; exactly the exited ones have a code and no reason. */
const checkWhole = (run: ModuleRunPayload): void => {
  const hasRun = run.end !== "denied" && run.end !== "refused";
  if (hasRun !== (run.usage !== null)) refuseField(path, "usage", `must fit the end "${run.end}"`);
  if (hasRun !== (run.outputDigest !== null)) {
    refuseField(path, "output_digest", `must fit the end "${run.end}"`);
  }
  const hasExited = run.end === "exited";
  if (hasExited !== (run.exitCode !== null)) refuseField(path, "exit_code", `must fit the end "${run.end}"`);
  if (hasExited !== (run.reason === "")) refuseField(path, "reason", `must fit the end "${run.end}"`);
};

/** @throws malformedRecord naming the field. */
export const parseModuleRun = (payload: CborValue): ModuleRunPayload => {
  const map = exactMap(payload, path, runKeys);
  const run: ModuleRunPayload = {
    module: textField(map, path, "module"),
    version: uintField(map, path, "version", 1),
    digest: hashField(map, path, "digest"),
    otherDigest: hashOrNullField(map, path, "other_digest"),
    caller: anyTextField(map, path, "caller"),
    inputDigest: hashField(map, path, "input_digest"),
    inputBytes: uintField(map, path, "input_bytes"),
    outputDigest: hashOrNullField(map, path, "output_digest"),
    limits: readLimits(map["limits"]),
    usage: readUsage(map["usage"]),
    end: oneOfField(map, path, "end", runEnds),
    exitCode: map["exit_code"] === null ? null : uintField(map, path, "exit_code", 0, exitCodeMax),
    reason: anyTextField(map, path, "reason"),
  };
  checkWhole(run);
  return run;
};

const formatLimits = (limits: ModuleRunLimits): CborMap => ({
  wall_ms: limits.wallMs,
  memory_pages: limits.memoryPages,
  output_bytes: limits.outputBytes,
  log_bytes: limits.logBytes,
  input_bytes: limits.inputBytes,
  host_calls: limits.hostCalls,
});

const formatUsage = (usage: ModuleRunUsage): CborMap => ({
  wall_us: usage.wallUs,
  cpu_us: usage.cpuUs,
  memory_bytes_peak: usage.memoryBytesPeak,
  input_bytes: usage.inputBytes,
  output_bytes: usage.outputBytes,
  log_bytes: usage.logBytes,
  host_calls: usage.hostCalls,
});

export const formatModuleRun = (run: ModuleRunPayload): CborMap => ({
  module: run.module,
  version: run.version,
  digest: run.digest,
  other_digest: run.otherDigest,
  caller: run.caller,
  input_digest: run.inputDigest,
  input_bytes: run.inputBytes,
  output_digest: run.outputDigest,
  limits: formatLimits(run.limits),
  usage: run.usage === null ? null : formatUsage(run.usage),
  end: run.end,
  exit_code: run.exitCode,
  reason: run.reason,
});
