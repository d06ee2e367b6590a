/**
 * The headers of the frames between the server and a sandbox process. Pure. What comes from a process is checked in
 * `reports.ts`.
 */
import type { Capability, RunLimits } from "./limits.ts";
import type { RunExit } from "./run.ts";

/** The module's bytes follow. Loaded once, run many times under this slot's number. */
export type LoadTask = {
  readonly slot: number;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
};

export type DropTask = { readonly slot: number };

/** The input follows. */
export type RunTask = {
  /** Random, and named again by the end of this run: what a process says late reaches no other. */
  readonly token: string;
  readonly slot: number;
  readonly name: string;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
  /** Output and log at once, not in large pieces. */
  readonly isStreamed: boolean;
};

/** The answer to a host call: its bytes follow when the code is 0. */
export type AnswerTask = { readonly code: number };

/** `rule` when the module was refused. */
export type LoadedReport = { readonly rule: string | null };

/** With the token of the run that ended. */
export type EndedReport = {
  readonly exit: RunExit;
  readonly cpuUs: number;
  /** Of the process since its start. */
  readonly processCpuUs: number;
  readonly memoryBytes: number;
};
