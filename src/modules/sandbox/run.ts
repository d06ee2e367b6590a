/** Request and outcome of one run, and the interface of the sandbox. Pure. Source: docs/spec/sandbox.md. */
import type { Hash } from "@sigil/core/bytes";
import type { Inspection } from "./inspect-module.ts";
import type { Capability, RunLimits } from "./limits.ts";

export type HostRequest =
  | { readonly kind: "canon.read"; readonly id: string }
  | { readonly kind: "trust.check"; readonly action: string; readonly target: string };

/**
 * Handles a host call that the module's capabilities allow.
 * @returns the answer's bytes, at most `hostAnswerBytesMax`. A rejection reaches the module as an error code: notFound,
 * denied and similar, invalidField, tooLarge by name, anything else as "unavailable".
 */
export type HostCall = (request: HostRequest) => Promise<Uint8Array>;

export type RunRequest = {
  /** SHA-256 of the module's bytes, from a committed record. */
  readonly digest: Hash;
  /** Called only if no sandbox process has the module compiled; checked against the digest. */
  readonly bytes: () => Promise<Uint8Array>;
  /** argv[0]. */
  readonly name: string;
  /** Tenant of the run, for per-tenant limits. */
  readonly tenant?: string;
  /** Standard input. */
  readonly input: Uint8Array;
  readonly capabilities: readonly Capability[];
  readonly limits: RunLimits;
  readonly host: HostCall;
  /**
   * Receive output and log as they arrive. Without these listeners they are sent in larger blocks, which is cheaper.
   */
  readonly onOutput?: (chunk: Uint8Array) => void;
  readonly onLog?: (chunk: Uint8Array) => void;
  /** Aborting kills the run, or removes it from the queue. */
  readonly signal: AbortSignal;
};

/** The limit that ended a run. `memory`: the machine had less than the limit allows. */
export type KillingLimit = "wall_time" | "output" | "log" | "host_calls" | "memory" | "cancelled";

export type RunExit =
  /** It returned, or called proc_exit with a code of 0 to 4294967295. */
  | { readonly kind: "exited"; readonly code: number }
  /** `trap` is one of docs/spec/sandbox.md §6: `unreachable`, `memory_limit`, `stack_overflow`, … */
  | { readonly kind: "trapped"; readonly trap: string }
  | { readonly kind: "killed"; readonly limit: KillingLimit }
  /** Nothing ran: the bytes have a wrong digest, are not a module, or need capabilities that were not granted. */
  | { readonly kind: "refused"; readonly rule: string }
  /** The sandbox process died or broke the protocol. */
  | { readonly kind: "crashed" };

/**
 * Resources used by the run. For a killed run: bytes received so far, and CPU time and memory as measured by the
 * system.
 */
export type RunUsage = {
  readonly wallMs: number;
  readonly cpuMs: number;
  /** All memories and tables together, in bytes. */
  readonly memoryBytesPeak: number;
  readonly outputBytes: number;
  readonly logBytes: number;
  readonly hostCalls: number;
  readonly inputBytes: number;
};

export type RunOutcome = {
  readonly exit: RunExit;
  /** Standard output, complete up to the end of the run. */
  readonly output: Uint8Array;
  /** The tail of standard error, at most `runLogTailBytesMax`. */
  readonly logTail: Uint8Array;
  readonly usage: RunUsage;
};

/** A request to inspect unapproved code. */
export type InspectionRequest = {
  /** Called when its turn has come, so that waiting requests hold no code. Its exceptions are passed on. */
  readonly bytes: () => Promise<Uint8Array>;
  /** Tenant, for fair queueing. */
  readonly tenant: string;
  /** Aborting ends the inspection, or removes it from the queue. */
  readonly signal: AbortSignal;
};

export interface Sandbox extends AsyncDisposable {
  /**
   * Never rejects because of a module's behaviour. @throws runsBusy; tooLarge for input past its limit; notServing if
   * no sandbox process can be started, or after dispose.
   */
  run(request: RunRequest): Promise<RunOutcome>;
  /**
   * Parses and compiles code in a separate process, one at a time, round-robin among tenants.
   * @throws malformedModule, tooLarge, queueFull, cancelled, deadlineExceeded, notServing.
   */
  inspect(request: InspectionRequest): Promise<Inspection>;
  /** Why no module can ever run here, as a message; absent or null if they can. */
  readonly whyUnavailable?: string | null;
  readonly gauge: {
    /** Number of runs in progress. */
    readonly running: number;
    /** Number of idle processes. */
    readonly warm: number;
    /** Number of processes replaced since the start. */
    readonly restarts: number;
  };
}
