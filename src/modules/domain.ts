/** Modules, runs and their answers, as the service speaks of them; `rpc/` turns them to and from protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { ModulePayload, ModuleRunLimits, ModuleRunUsage, LevelName } from "@sigil/core/record";
import type { Proposed, RecordProposal, SystemRecord } from "../canon/domain.ts";

export type Module = {
  readonly name: string;
  readonly version: bigint;
  /** Of a retired module: what its last code asked for. */
  readonly payload: ModulePayload;
  /** True for the version that runs. */
  readonly active: boolean;
  readonly retired: boolean;
  readonly recordHash: Hash;
  readonly position: bigint;
  readonly timeMs: number;
  /** Bytes of code kept for its digest. */
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

/** How a proposal is put, whatever it proposes. */
export type Putting = Pick<
  RecordProposal,
  "reason" | "lifetimeMs" | "commit" | "idempotencyKey" | "expectedVersion"
>;

export type Manifest = Putting & {
  readonly name: string;
  readonly minLevel: LevelName;
  readonly capabilities: readonly string[];
  readonly limits: ModulePayload["limits"];
  /** What the code's digest must be; null when the sender does not know. */
  readonly digest: Hash | null;
};

export type Retirement = Putting & { readonly name: string };

/** A proposal that was made, with the code it is about. */
export type ProposedCode = {
  readonly proposed: Proposed;
  readonly digest: Hash;
  readonly codeBytes: number;
};

export type RunAsked = {
  readonly name: string;
  /** 0n means whichever is active. */
  readonly version: bigint;
  /** Null means whichever is active. */
  readonly digest: Hash | null;
  readonly input: Uint8Array;
  /** Lowers the wall time; 0 leaves it. */
  readonly wallMs: number;
};

/** A run that came to its end and whose record is on disk. */
export type RunDone = {
  readonly output: Uint8Array;
  readonly exitCode: number;
  readonly logTail: Uint8Array;
  readonly usage: ModuleRunUsage;
  readonly limits: ModuleRunLimits;
  readonly auditId: string;
  readonly runId: string;
  readonly position: bigint;
  readonly version: bigint;
  readonly digest: Hash;
  readonly outputDigest: Hash;
};
