/**
 * Headers of the frames between server and sandbox process. Pure. Those from a process are validated in `reports.ts`.
 */
import type { Capability, RunLimits } from "./limits.ts";
import type { RunExit } from "./run.ts";

/** Followed by the module's bytes. Loaded once into a slot, run many times. */
export type LoadTask = {
  readonly slot: number;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
};

export type DropTask = { readonly slot: number };

/** Followed by the input. */
export type RunTask = {
  /** Random, repeated in the end report, so that a late report cannot be taken for another run's. */
  readonly token: string;
  readonly slot: number;
  readonly name: string;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
  /** Send output and log immediately instead of in large blocks. */
  readonly isStreamed: boolean;
};

/** The answer to a host call, followed by its bytes if the code is 0. */
export type AnswerTask = { readonly code: number };

/** `rule` is set if the module was refused. */
export type LoadedReport = { readonly rule: string | null };

/** Carries the token of the ended run. */
export type EndedReport = {
  readonly exit: RunExit;
  readonly cpuUs: number;
  /** CPU time of the process since its start, µs. */
  readonly processCpuUs: number;
  readonly memoryBytes: number;
};
