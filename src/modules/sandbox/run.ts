/**
 * One run of a module, as the rest of the server asks for it and gets it back, and the sandbox that does it. Pure.
 * Source: docs/spec/sandbox.md.
 */
import type { Hash } from "@sigil/core/bytes";
import type { Inspection } from "./inspect-module.ts";
import type { Capability, RunLimits } from "./limits.ts";

export type HostRequest =
  | { readonly kind: "canon.read"; readonly id: string }
  | { readonly kind: "trust.check"; readonly action: string; readonly target: string };

/**
 * What a module asks of the server while it runs; only what its capabilities allow gets this far.
 * @returns the answer's bytes, at most `hostAnswerBytesMax`. A rejection reaches the module as an error code: notFound,
 * denied and its like, invalidField, tooLarge by name, anything else as "unavailable".
 */
export type HostCall = (request: HostRequest) => Promise<Uint8Array>;

export type RunRequest = {
  /** SHA-256 of the module's bytes, as a committed record names it. */
  readonly digest: Hash;
  /** Asked only when no sandbox process has the module compiled; held to the digest. */
  readonly bytes: () => Promise<Uint8Array>;
  /** argv[0]. */
  readonly name: string;
  /** Whose run it is, where runs are counted by tenant. */
  readonly tenant?: string;
  /** Standard input. */
  readonly input: Uint8Array;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
  readonly host: HostCall;
  /** Output and log as they come. Without either of them they come in larger pieces, which costs less. */
  readonly onOutput?: (chunk: Uint8Array) => void;
  readonly onLog?: (chunk: Uint8Array) => void;
  /** Aborted: the run is killed, or leaves the queue. */
  readonly signal: AbortSignal;
};

/** Which limit ended a run. `memory`: the machine had less than the limit promised. */
export type KillingLimit = "wall_time" | "output" | "log" | "host_calls" | "memory" | "cancelled";

export type RunExit =
  /** It came to its end, or said with which code (0 to 4294967295) it wants to end. */
  | { readonly kind: "exited"; readonly code: number }
  /** `trap` is one of docs/spec/sandbox.md §6: `unreachable`, `memory_limit`, `stack_overflow`, … */
  | { readonly kind: "trapped"; readonly trap: string }
  | { readonly kind: "killed"; readonly limit: KillingLimit }
  /** Nothing of it ran: the bytes have another digest, are no module, or ask for what was not granted. */
  | { readonly kind: "refused"; readonly rule: string }
  /** The sandbox process died or broke the protocol; the module's fault or ours. */
  | { readonly kind: "crashed" };

/**
 * What the run took. Bytes of a killed run are those that had arrived; its CPU time and memory are the system's word.
 */
export type RunUsage = {
  readonly wallMs: number;
  readonly cpuMs: number;
  /** All memories and tables together. */
  readonly memoryBytesPeak: number;
  readonly outputBytes: number;
  readonly logBytes: number;
  readonly hostCalls: number;
  readonly inputBytes: number;
};

export type RunOutcome = {
  readonly exit: RunExit;
  /** Standard output up to the end, whatever the end was. */
  readonly output: Uint8Array;
  /** The end of standard error, at most `runLogTailBytesMax`. */
  readonly logTail: Uint8Array;
  readonly usage: RunUsage;
};

/** Code that nobody approved yet. */
export type InspectionRequest = {
  /** Asked when its turn has come: what waits holds no code. What it throws, the inspection throws. */
  readonly bytes: () => Promise<Uint8Array>;
  /** Whose turn it takes. */
  readonly tenant: string;
  /** Aborted: the inspection ends, or leaves the queue. */
  readonly signal: AbortSignal;
};

export interface Sandbox extends AsyncDisposable {
  /**
   * Never rejects for what a module does. @throws runsBusy; tooLarge for input past its limit; notServing when no
   * sandbox process can be started, or after dispose.
   */
  run(request: RunRequest): Promise<RunOutcome>;
  /**
   * Reads and compiles code in a process that serves no runs, one at a time; tenants take turns.
   * @throws malformedModule, tooLarge, queueFull, cancelled, deadlineExceeded, notServing.
   */
  inspect(request: InspectionRequest): Promise<Inspection>;
  /** Why no module can ever be run here, for people; absent or null where they can. */
  readonly whyUnavailable?: string | null;
  readonly gauge: {
    /** Runs in a process now. */
    readonly running: number;
    /** Processes that wait for a run. */
    readonly warm: number;
    /** Processes that were replaced since the start. */
    readonly restarts: number;
  };
}
