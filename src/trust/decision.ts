/** Domain types of checks and decisions; `rpc/` converts them to and from protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import type { SigilError } from "../errors.ts";
import type { Disclosures, FrozenChainPayload, TrustModelPayload, LevelName } from "@sigil/core/record";

export type CheckQuestion = {
  readonly action: string;
  readonly target: string;
  /** Empty for the caller. */
  readonly subject: string;
  readonly session: string;
  readonly input: Uint8Array;
  readonly keepInput: boolean;
  /** Empty for none. */
  readonly idempotencyKey: string;
  /** A minimum level required by the target, besides the model's own. Recorded. Undefined if none. */
  readonly minLevel?: LevelName | undefined;
  /** Recorded besides the call's metadata; has no effect on the decision. Must be equal in a repeat. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
};

/** A malformed item of a batch, which fails alone. */
export type MalformedQuestion = {
  readonly kind: "malformed";
  readonly error: SigilError;
  /** Digest of the raw item; must be equal in a repeat of the batch. */
  readonly digest: Hash;
};

export type BatchQuestion = CheckQuestion | MalformedQuestion;

export const isMalformed = (item: BatchQuestion): item is MalformedQuestion => "kind" in item;

/** A recorded decision. All its content is in the record, from which replays read it. */
export type Decision = {
  readonly auditId: string;
  readonly position: bigint;
  /** Hash of the decision's record. */
  readonly hash: Hash;
  readonly envelope: Uint8Array;
  readonly timeMs: number;
  readonly chain: FrozenChainPayload;
  /** What opens the commitments of its record. */
  readonly disclosures: Disclosures;
  /** Bias and weights of the deciding model; null if there was none. */
  readonly model: Pick<TrustModelPayload, "bias" | "weights"> | null;
  readonly replayed: boolean;
};

/** A batch's item: decided, or failed, which must be treated as a deny. */
export type BatchItem =
  | { readonly kind: "decided"; readonly decision: Decision }
  | { readonly kind: "failed"; readonly error: SigilError };

export type ActiveModel = {
  readonly id: string;
  readonly hash: Hash;
  readonly position: bigint;
  readonly model: TrustModelPayload;
};

export type Simulation = {
  /** Lint findings of the candidate, one line each. */
  readonly warnings: readonly string[];
  readonly scored: number;
  /** Records skipped because their tenant was erased. */
  readonly erased: number;
  readonly flipped: number;
  readonly decisions: readonly SimulatedDecision[];
};

export type SimulatedDecision = {
  /** Empty for a check given in the request. */
  readonly auditId: string;
  readonly action: string;
  readonly target: string;
  readonly subject: string;
  readonly current: FrozenChainPayload["verdict"];
  readonly candidate: FrozenChainPayload["verdict"];
  readonly currentScore: number | null;
  readonly candidateScore: number | null;
  readonly candidateReason: string;
};

export type SimulateQuestion = {
  readonly candidate:
    /** An unchecked trust_model payload. */
    | { readonly kind: "model"; readonly payload: CborValue }
    /** The model that a proposal would commit, as it stands in the ledger. */
    | { readonly kind: "proposed"; readonly payload: CborValue };
  readonly matter:
    | { readonly kind: "check"; readonly question: CheckQuestion }
    | { readonly kind: "last"; readonly decisions: number };
  readonly includeUnchanged: boolean;
};
