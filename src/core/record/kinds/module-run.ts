/**
 * Payload of `module_run`: one run of a module, including denied, refused and killed ones. Written only by the server.
 * Input and output are committed to by digest and length; version 1 names both. The log is recorded by its length only.
 * Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyTextField,
  exactMap,
  hashField,
  hashOrNullField,
  mapOf,
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
  /** Commits to the input's digest and length. */
  readonly input: Hash;
  /** Commits to those of the output. Absent if nothing ran. Includes what a killed run wrote before it was killed. */
  readonly output?: Hash;
  readonly limits: ModuleRunLimits;
  /** Null if nothing ran. */
  readonly usage: ModuleRunUsage | null;
  readonly end: RunEnd;
  /** Argument of proc_exit; null unless it exited. */
  readonly exitCode: number | null;
  /** Why it did not exit; "" if it did. */
  readonly reason: string;
}

/** What the record of a run says, of whichever version. Null where it is committed to and not disclosed. */
export type RecordedRun = Omit<ModuleRunPayload, "input" | "output" | "usage"> & {
  readonly inputDigest: Hash | null;
  readonly inputBytes: number | null;
  /** Null also if nothing ran. */
  readonly outputDigest: Hash | null;
  readonly usage:
    | (ModuleRunUsage & { readonly inputBytes: number | null; readonly outputBytes: number | null })
    | null;
};

const path = "payload";
const usagePath = "payload.usage";
const runKeys = [
  "module",
  "version",
  "digest",
  "other_digest",
  "caller",
  "limits",
  "usage",
  "end",
  "exit_code",
  "reason",
];
const limitKeys = ["wall_ms", "memory_pages", "output_bytes", "log_bytes", "input_bytes", "host_calls"];
const usageKeys = ["wall_us", "cpu_us", "memory_bytes_peak", "log_bytes", "host_calls"];
const digestKeys = ["input_digest", "input_bytes", "output_digest"];
const usageDigestKeys = ["input_bytes", "output_bytes"];

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

const readUsage = (map: CborMap): ModuleRunUsage => ({
  wallUs: uintField(map, usagePath, "wall_us"),
  cpuUs: uintField(map, usagePath, "cpu_us"),
  memoryBytesPeak: uintField(map, usagePath, "memory_bytes_peak"),
  logBytes: uintField(map, usagePath, "log_bytes"),
  hostCalls: uintField(map, usagePath, "host_calls"),
});

const exitCodeMax = 2 ** 32 - 1;

type Common = Omit<ModuleRunPayload, "input" | "output" | "usage">;

const readCommon = (map: CborMap): Common => ({
  module: textField(map, path, "module"),
  version: uintField(map, path, "version", 1),
  digest: hashField(map, path, "digest"),
  otherDigest: hashOrNullField(map, path, "other_digest"),
  caller: anyTextField(map, path, "caller"),
  limits: readLimits(map["limits"]),
  end: oneOfField(map, path, "end", runEnds),
  exitCode: map["exit_code"] === null ? null : uintField(map, path, "exit_code", 0, exitCodeMax),
  reason: anyTextField(map, path, "reason"),
});

/** Runs have usage and an output; exactly the exited ones have a code and no reason. */
const checkWhole = (
  { end, exitCode, reason }: Common,
  hasUsage: boolean,
  output: readonly [name: string, isThere: boolean],
): void => {
  const refuse = (name: string): never => refuseField(path, name, `must fit the end "${end}"`);
  const hasRun = end !== "denied" && end !== "refused";
  if (hasRun !== hasUsage) refuse("usage");
  if (hasRun !== output[1]) refuse(output[0]);
  const hasExited = end === "exited";
  if (hasExited !== (exitCode !== null)) refuse("exit_code");
  if (hasExited !== (reason === "")) refuse("reason");
};

/** @throws malformedRecord naming the field. */
export const parseModuleRun = (payload: CborValue): ModuleRunPayload => {
  const map = mapOf(payload, path, [...runKeys, "input"], ["output"]);
  const common = readCommon(map);
  const usage = map["usage"] === null ? null : readUsage(exactMap(map["usage"], usagePath, usageKeys));
  const hasOutput = map["output"] !== undefined;
  checkWhole(common, usage !== null, ["output", hasOutput]);
  return {
    ...common,
    input: hashField(map, path, "input"),
    ...(hasOutput ? { output: hashField(map, path, "output") } : {}),
    usage,
  };
};

/** Version 1, which is read and no longer written. @throws malformedRecord naming the field. */
export const parseModuleRun1 = (payload: CborValue): RecordedRun => {
  const map = exactMap(payload, path, [...runKeys, ...digestKeys]);
  const common = readCommon(map);
  const given =
    map["usage"] === null ? null : exactMap(map["usage"], usagePath, [...usageKeys, ...usageDigestKeys]);
  const outputDigest = hashOrNullField(map, path, "output_digest");
  checkWhole(common, given !== null, ["output_digest", outputDigest !== null]);
  const usage = given && {
    ...readUsage(given),
    inputBytes: uintField(given, usagePath, "input_bytes"),
    outputBytes: uintField(given, usagePath, "output_bytes"),
  };
  return {
    ...common,
    inputDigest: hashField(map, path, "input_digest"),
    inputBytes: uintField(map, path, "input_bytes"),
    outputDigest,
    usage,
  };
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
  log_bytes: usage.logBytes,
  host_calls: usage.hostCalls,
});

export const formatModuleRun = (run: ModuleRunPayload): CborMap => ({
  module: run.module,
  version: run.version,
  digest: run.digest,
  other_digest: run.otherDigest,
  caller: run.caller,
  input: run.input,
  ...(run.output === undefined ? {} : { output: run.output }),
  limits: formatLimits(run.limits),
  usage: run.usage === null ? null : formatUsage(run.usage),
  end: run.end,
  exit_code: run.exitCode,
  reason: run.reason,
});
