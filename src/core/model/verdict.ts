/** The answer to a check and the stable codes for why. Source: docs/spec/trust.md §5. Pure. */

/** Reasons given by the model. Stable: they appear in records and replies. */
export type ModelDenyReason = "UNKNOWN_ACTION" | "LEVEL_TOO_LOW" | "SCORE_BELOW_THRESHOLD";
/** Reasons for a deny without a model's answer: it failed, is missing, or timed out. */
const FAULT_REASONS = ["EVALUATOR_ERROR", "MODEL_MISSING", "DEADLINE_EXCEEDED"] as const;
export type FaultReason = (typeof FAULT_REASONS)[number];
export type DenyReason = ModelDenyReason | FaultReason;

/** Fails closed: only the kind "allow" allows. */
export type Verdict =
  | { readonly kind: "allow"; readonly reason: "SCORE_AT_OR_ABOVE_THRESHOLD" }
  | { readonly kind: "deny"; readonly reason: DenyReason }
  | { readonly kind: "review"; readonly reason: "REVIEW_BAND" };

export const isAllowed = (verdict: Verdict): boolean => verdict.kind === "allow";

export const isFaultReason = (reason: string): reason is FaultReason =>
  FAULT_REASONS.some((fault) => fault === reason);
