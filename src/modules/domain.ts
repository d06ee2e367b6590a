/** Domain types of modules and runs; `rpc/` converts them to and from protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { MeasuredUsage } from "./run-record.ts";
import type { ModulePayload, ModuleRunLimits, LevelName } from "@sigil/core/record";
import type { Proposed, RecordProposal, SystemRecord } from "../canon/domain.ts";

export type Module = {
  readonly name: string;
  readonly version: bigint;
  /** For a retired module, the payload of its last version with code. */
  readonly payload: ModulePayload;
  /** True for the active version. */
  readonly active: boolean;
  readonly retired: boolean;
  readonly recordHash: Hash;
  readonly position: bigint;
  readonly timeMs: number;
  /** Size of the stored code in bytes. */
  readonly codeBytes: number;
};

export type ApprovedModule = Pick<SystemRecord, "attestedBy" | "k" | "n" | "proposalId"> & {
  readonly module: Module;
};

export type ModuleQuery = {
  readonly pageSize: number;
  readonly pageToken: string;
  readonly includeRetired: boolean;
};

export type ModulePage = { readonly modules: readonly Module[]; readonly nextPageToken: string };

/** Options of a proposal, independent of its content. */
export type Putting = Pick<
  RecordProposal,
  "reason" | "lifetimeMs" | "commit" | "idempotencyKey" | "expectedVersion"
>;

export type Manifest = Putting & {
  readonly name: string;
  readonly minLevel: LevelName;
  readonly capabilities: readonly string[];
  readonly limits: ModulePayload["limits"];
  /** The expected digest of the code; null if the sender does not state one. */
  readonly digest: Hash | null;
};

export type Retirement = Putting & { readonly name: string };

/** A proposal with its code. */
export type ProposedCode = {
  readonly proposed: Proposed;
  readonly digest: Hash;
  readonly codeBytes: number;
};

export type RunAsked = {
  readonly name: string;
  /** 0n for the active version. */
  readonly version: bigint;
  /** Null for the active version's. */
  readonly digest: Hash | null;
  readonly input: Uint8Array;
  /** Lowers the wall time limit; 0 keeps it. */
  readonly wallMs: number;
};

/** A completed run whose record is durable. */
export type RunDone = {
  readonly output: Uint8Array;
  readonly exitCode: number;
  readonly logTail: Uint8Array;
  readonly usage: MeasuredUsage;
  readonly limits: ModuleRunLimits;
  readonly auditId: string;
  readonly runId: string;
  readonly position: bigint;
  readonly version: bigint;
  readonly digest: Hash;
  readonly outputDigest: Hash;
};
