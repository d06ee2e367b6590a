/** Types of the audit service's answers, before `rpc/` converts them to protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { Replay } from "@sigil/core/model";
import type { FrozenChainPayload, StoredRecord } from "@sigil/core/record";

/** A decision worked out again; no model if none decided. */
export type ReplayedDecision = {
  readonly replay: Replay;
  readonly model: Pick<StoredRecord, "position" | "hash"> | undefined;
};

/** Names one decision; an empty tenant means the caller's own. */
export type ChainName = { readonly auditId: string; readonly tenant: string };

export type AuditedChain = { readonly record: StoredRecord; readonly chain: FrozenChainPayload };

/**
 * The deciding model's contribution to a decision: the bias in logits, and the best matching globs, or "" if none
 * matched.
 */
export type ModelRows = { readonly bias: number; readonly actionGlob: string; readonly targetGlob: string };

export type ChainQuery = {
  /** Empty strings and undefined match everything. */
  readonly principal: string;
  readonly action: string;
  readonly targetGlob: string;
  /** The target or a prefix of whole segments. */
  readonly targetPrefix: string;
  readonly reason: string;
  readonly session: string;
  readonly verdict: FrozenChainPayload["verdict"] | undefined;
  readonly fromMs: number | undefined;
  readonly untilMs: number | undefined;
  /** Only decisions at or after this ledger position. */
  readonly fromPosition: bigint;
  readonly order: "newestFirst" | "oldestFirst";
  /** 0 for the default. */
  readonly pageSize: number;
  readonly pageToken: string;
  /** Empty for the caller's own. */
  readonly tenant: string;
};

export type ChainPage = {
  readonly chains: readonly AuditedChain[];
  readonly nextPageToken: string;
  /** The position from which a later listing resumes without gaps or duplicates. */
  readonly resumePosition: bigint;
  readonly ledgerSize: bigint;
};

export type VerificationStep = {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly detail: string;
};

export type Verification = {
  readonly verified: boolean;
  readonly steps: readonly VerificationStep[];
  readonly position: bigint;
  readonly checkpoint: string;
  readonly proof: readonly Hash[];
  readonly envelope: Uint8Array | undefined;
};
