/**
 * Builds the record of a run, and maps the sandbox's outcome to the record and to the caller's error. Pure. Source:
 * docs/spec/module.md §3.
 */
import type { Hash } from "@sigil/core/bytes";
import { fail, type SigilError } from "../errors.ts";
import {
  commitTo,
  digestValue,
  formatModuleRun,
  type Digested,
  type Disclosures,
  type ModuleRunLimits,
  type ModuleRunPayload,
  type ModuleRunUsage,
  type Opening,
  type RunEnd,
  type RecordBody,
} from "@sigil/core/record";
import type { KillingLimit, RunExit, RunUsage } from "./sandbox/run.ts";

/** Maximum length of a reason in the record; traps and rules are short. */
const reasonCharactersMax = 256;

/** What a run used, with the lengths of what it read and wrote. */
export type MeasuredUsage = ModuleRunUsage & { readonly inputBytes: number; readonly outputBytes: number };

export const usageOf = (usage: RunUsage): MeasuredUsage => ({
  wallUs: Math.round(usage.wallMs * 1000),
  cpuUs: Math.round(usage.cpuMs * 1000),
  memoryBytesPeak: Math.round(usage.memoryBytesPeak),
  inputBytes: usage.inputBytes,
  outputBytes: usage.outputBytes,
  logBytes: usage.logBytes,
  hostCalls: usage.hostCalls,
});

/** How a run ended, as recorded. */
export type Ending = Pick<ModuleRunPayload, "end" | "exitCode" | "reason">;

export const endingOf = (exit: RunExit, whyStopped: () => string): Ending => {
  switch (exit.kind) {
    case "exited":
      return { end: "exited", exitCode: exit.code, reason: "" };
    case "trapped":
      return { end: "trapped", exitCode: null, reason: exit.trap };
    case "killed":
      return {
        end: "killed",
        exitCode: null,
        reason: exit.limit === "cancelled" ? whyStopped() : exit.limit,
      };
    case "refused":
      return { end: "refused", exitCode: null, reason: exit.rule };
    case "crashed":
      return { end: "crashed", exitCode: null, reason: "crashed" };
  }
};

type OfRun = { readonly module: string; readonly auditId: string; readonly run: string };

const limitReasons: Readonly<Record<Exclude<KillingLimit, "cancelled" | "wall_time">, string>> = {
  output: "RUN_OUTPUT_LIMIT",
  log: "RUN_LOG_LIMIT",
  host_calls: "RUN_HOST_CALLS_LIMIT",
  memory: "RUN_MEMORY_LIMIT",
};

const limitOf = (limits: ModuleRunLimits, limit: keyof typeof limitReasons): number => {
  switch (limit) {
    case "output":
      return limits.outputBytes;
    case "log":
      return limits.logBytes;
    case "host_calls":
      return limits.hostCalls;
    case "memory":
      return limits.memoryPages;
  }
};

/** The caller's error. Undefined for a run that exited. */
export const errorOf = (
  exit: RunExit,
  limits: ModuleRunLimits,
  of: OfRun,
  stopped: () => SigilError,
): SigilError | undefined => {
  switch (exit.kind) {
    case "exited":
      return undefined;
    case "trapped":
      return { kind: "runTrapped", rule: exit.trap, ...of };
    case "refused":
      return { kind: "moduleRefused", reason: "MODULE_REFUSED", rule: `is refused: ${exit.rule}`, ...of };
    case "crashed":
      return { kind: "runCrashed", ...of };
    case "killed":
      if (exit.limit === "cancelled") return stopped();
      if (exit.limit === "wall_time") return { kind: "runTimedOut", limitMs: limits.wallMs, ...of };
      return {
        kind: "runLimit",
        reason: limitReasons[exit.limit],
        limit: limitOf(limits, exit.limit),
        ...of,
      };
  }
};

export type RunFacts = Omit<ModuleRunPayload, "usage" | "input" | "output" | keyof Ending> & {
  readonly input: Digested;
  readonly id: string;
  readonly tenant: string;
  readonly ts: number;
  /** Hashes of the records of the decision and of the module. */
  readonly decision: Hash;
  readonly moduleRecord: Hash;
};

/** Usage is present if and only if the module ran. */
export type RunResult = Ending & {
  readonly used: { readonly usage: MeasuredUsage; readonly outputDigest: Hash } | null;
};

/** The record of a run, and what opens its commitments. */
export type RunRecord = { readonly body: RecordBody; readonly disclosures: Disclosures };

const hasRun = (end: RunEnd): boolean => end !== "denied" && end !== "refused";

/** @param newSalt returns 32 random bytes. */
export const runRecord = (
  facts: RunFacts,
  { used, end, exitCode, reason }: RunResult,
  newSalt: () => Uint8Array,
): RunRecord => {
  const { id, tenant, ts, decision, moduleRecord, input, ...payload } = facts;
  if (hasRun(end) !== (used !== null)) {
    fail({ kind: "malformedRecord", field: "payload.usage", rule: `must fit the end "${end}"` });
  }
  const open = (digested: Digested): Opening => ({ salt: newSalt(), value: digestValue(digested) });
  const disclosures: { input: Opening; output?: Opening } = { input: open(input) };
  if (used !== null) {
    disclosures.output = open({ digest: used.outputDigest, bytes: used.usage.outputBytes });
  }
  const body: RecordBody = {
    kind: "module_run",
    schemaVersion: 2,
    id,
    tenant,
    ts,
    space: "user",
    payload: formatModuleRun({
      ...payload,
      input: commitTo("input", disclosures.input),
      ...(disclosures.output === undefined ? {} : { output: commitTo("output", disclosures.output) }),
      usage: used?.usage ?? null,
      end,
      exitCode,
      reason: reason.toWellFormed().slice(0, reasonCharactersMax),
    }),
    links: [
      { label: "decision", target: decision },
      { label: "module", target: moduleRecord },
    ],
    prev: null,
  };
  return { body, disclosures };
};
