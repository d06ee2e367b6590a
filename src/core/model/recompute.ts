/**
 * Recomputes a recorded decision from its record and the model it names. Source: docs/spec/trust.md §8. Pure. Features
 * known only from the record (rate, and entropy if the input was not kept) are taken as recorded.
 */
import type { CborValue } from "../cbor/cbor.ts";
import { fail } from "../errors.ts";
import type { FrozenChainPayload } from "../record/kinds/frozen-chain.ts";
import { FEATURES, inputEntropy, lookUpFeatures } from "./features.ts";
import { withCanonicalGlobs } from "./model-spelling.ts";
import { evaluate, parseModel } from "./model.ts";
import type { Evaluation, TrustModel } from "./model.ts";
import type { Feature, Features } from "./features.ts";
import { isFaultReason } from "./verdict.ts";
import type { FaultReason, Verdict } from "./verdict.ts";

export type Recomputation =
  | { readonly kind: "match"; readonly verdict: Verdict }
  /** Record and recomputation differ. `field` is the payload's dotted path. */
  | {
      readonly kind: "differs";
      readonly field: string;
      readonly recorded: string;
      readonly recomputed: string;
    }
  /** No model answered and the record says deny: nothing to recompute. */
  | { readonly kind: "unscored"; readonly reason: FaultReason };

type Comparison = {
  readonly field: string;
  readonly recorded: string | number | null | undefined;
  readonly recomputed: string | number | null;
  /** Allowed difference of numbers. Zero for everything that a verdict depends on. */
  readonly tolerance: number;
};

/** Logarithms and exponentials may differ in their last bits between engines; no verdict depends on those. */
const displayTolerance = 1e-9;

const exact = (
  field: string,
  recorded: Comparison["recorded"],
  recomputed: Comparison["recomputed"],
): Comparison => ({ field, recorded, recomputed, tolerance: 0 });

const near = (field: string, recorded: number | null, recomputed: number): Comparison => ({
  field,
  recorded,
  recomputed,
  tolerance: displayTolerance,
});

const agrees = ({ recorded, recomputed, tolerance }: Comparison): boolean =>
  typeof recorded === "number" && typeof recomputed === "number"
    ? Math.abs(recorded - recomputed) <= tolerance
    : recorded === recomputed;

const readShare = (chain: FrozenChainPayload, feature: Feature): number => {
  const value = chain.features[feature];
  if (value !== undefined && value >= 0 && value <= 1) return value;
  return fail({
    kind: "malformedRecord",
    field: `payload.features.${feature}`,
    rule: "must be between 0 and 1",
  });
};

const compareAll = (
  chain: FrozenChainPayload,
  model: TrustModel,
  features: Features,
  evaluation: Evaluation,
): readonly Comparison[] => {
  const { input } = chain.request;
  const { entropy } = features.values;
  return [
    near("features.entropy", entropy, input === null ? entropy : inputEntropy(input)),
    ...FEATURES.map((name) => exact(`features.${name}`, chain.features[name], features.values[name])),
    ...FEATURES.map((name) =>
      exact(`contributions.${name}`, chain.contributions[name], evaluation.contributions[name]),
    ),
    exact("z", chain.z, evaluation.z),
    near("score", chain.score, evaluation.score),
    exact("threshold", chain.threshold, model.threshold),
    exact("review.low", chain.review?.low ?? null, model.review?.low ?? null),
    exact("review.high", chain.review?.high ?? null, model.review?.high ?? null),
    exact("verdict", chain.verdict, evaluation.verdict.kind),
    exact("reason", chain.reason, evaluation.verdict.reason),
  ];
};

/**
 * @param modelPayload of the `trust_model` record whose hash the chain names; not read if a fault decided.
 * @throws malformedRecord for features outside [0, 1], malformedModel.
 */
export const recompute = (chain: FrozenChainPayload, modelPayload: CborValue): Recomputation => {
  const { reason, verdict } = chain;
  if (isFaultReason(reason)) {
    if (verdict === "deny") return { kind: "unscored", reason };
    return { kind: "differs", field: "verdict", recorded: verdict, recomputed: "deny" };
  }
  const asRecorded = recomputeBy(chain, parseModel(modelPayload));
  const canonical = withCanonicalGlobs(modelPayload);
  if (asRecorded.kind === "match" || canonical === modelPayload) return asRecorded;
  // Models older than canonical globs decided by the globs' literal text at first, later by their canonical forms; try
  // both.
  const since = recomputeBy(chain, parseModel(canonical));
  return since.kind === "match" ? since : asRecorded;
};

const recomputeBy = (chain: FrozenChainPayload, model: TrustModel): Recomputation => {
  const features = lookUpFeatures(
    model,
    {
      action: chain.request.action,
      target: chain.request.target,
      level: chain.request.loa,
      minLevel: chain.request.minLoa,
    },
    { rate: readShare(chain, "rate"), entropy: readShare(chain, "entropy") },
  );
  const evaluation = evaluate(model, features);
  const wrong = compareAll(chain, model, features, evaluation).find((comparison) => !agrees(comparison));
  if (wrong === undefined) return { kind: "match", verdict: evaluation.verdict };
  const { field, recorded, recomputed } = wrong;
  return { kind: "differs", field, recorded: String(recorded), recomputed: String(recomputed) };
};
