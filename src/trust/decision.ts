/** A question and its answer, as the services speak of them; `rpc/` turns both to and from protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import type { SigilError } from "../errors.ts";
import type { FrozenChainPayload, TrustModelPayload, LevelName } from "@sigil/core/record";

export type CheckQuestion = {
  readonly action: string;
  readonly target: string;
  /** Empty means the caller. */
  readonly subject: string;
  readonly session: string;
  readonly input: Uint8Array;
  readonly keepInput: boolean;
  /** Empty means none. */
  readonly idempotencyKey: string;
  /**
   * A floor under the model's own least level: what the target itself asks for. Recorded. Undefined where there is
   * none.
   */
  readonly minLevel?: LevelName | undefined;
  /** What its record keeps beside the call's metadata; it decides nothing. A repeat must bring the same. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
};

/** An item of a batch that is no question: it fails for itself alone. */
export type MalformedQuestion = {
  readonly kind: "malformed";
  readonly error: SigilError;
  /** Of the item as it came; a repeat of the batch must bring the same. */
  readonly digest: Hash;
};

export type BatchQuestion = CheckQuestion | MalformedQuestion;

export const isMalformed = (item: BatchQuestion): item is MalformedQuestion => "kind" in item;

/** A recorded decision. Everything in it is in the record; a replay reads it from there. */
export type Decision = {
  readonly auditId: string;
  readonly position: bigint;
  /** Of the decision's record. */
  readonly hash: Hash;
  readonly timeMs: number;
  readonly chain: FrozenChainPayload;
  /** Bias and weights of the model that decided; null when there was none. */
  readonly model: Pick<TrustModelPayload, "bias" | "weights"> | null;
  readonly replayed: boolean;
};

/** A batch's item: decided, or not and therefore a deny. */
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
  /** What is most likely a mistake in the candidate, one line each. */
  readonly warnings: readonly string[];
  readonly scored: number;
  /** Records passed over because their tenant was erased. */
  readonly erased: number;
  readonly flipped: number;
  readonly decisions: readonly SimulatedDecision[];
};

export type SimulatedDecision = {
  /** Empty for a question of the request. */
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
    /** A trust_model payload, not yet checked. */
    | { readonly kind: "model"; readonly payload: CborValue }
    /** The model that a proposal would commit, as it stands in the ledger. */
    | { readonly kind: "proposed"; readonly payload: CborValue };
  readonly matter:
    | { readonly kind: "check"; readonly question: CheckQuestion }
    | { readonly kind: "last"; readonly decisions: number };
  readonly includeUnchanged: boolean;
};
