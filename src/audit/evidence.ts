/** What the audit service answers, before `rpc/` turns it into protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { FrozenChainPayload, StoredRecord } from "@sigil/core/record";

export type AuditedChain = { readonly record: StoredRecord; readonly chain: FrozenChainPayload };

/** What the model that decided says of a decision: the bias in logits, the globs that won or "" where none matched. */
export type ModelRows = { readonly bias: number; readonly actionGlob: string; readonly targetGlob: string };

export type ChainQuery = {
  /** Empty strings and undefined match everything. */
  readonly principal: string;
  readonly action: string;
  readonly targetGlob: string;
  /** The target itself or a beginning of it, by whole segments. */
  readonly targetPrefix: string;
  readonly reason: string;
  readonly session: string;
  readonly verdict: FrozenChainPayload["verdict"] | undefined;
  readonly fromMs: number | undefined;
  readonly untilMs: number | undefined;
  /** Decisions at or after this position of the ledger. */
  readonly fromPosition: bigint;
  readonly order: "newestFirst" | "oldestFirst";
  /** 0 means the default. */
  readonly pageSize: number;
  readonly pageToken: string;
  /** Empty means the caller's own. */
  readonly tenant: string;
};

export type ChainPage = {
  readonly chains: readonly AuditedChain[];
  readonly nextPageToken: string;
  /** The position from which a later listing goes on, without a gap and without a decision twice. */
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
