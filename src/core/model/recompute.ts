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

/** One value of a decision, as its record has it and as its model gives it. */
export type ReplayedValue = {
  /** The payload's dotted path. */
  readonly field: string;
  readonly recorded: string | number | null;
  readonly recomputed: string | number | null;
  /** `asRecorded`: taken from the record, since nothing at hand gives it again. */
  readonly outcome: "equal" | "different" | "asRecorded";
};

/** `partial`: nothing differs, and the input that would give the entropy again is not at hand. */
export type Replay = {
  readonly outcome: "equal" | "different" | "partial";
  /** In the order in which a decision is made. */
  readonly values: readonly ReplayedValue[];
};

/** Logarithms and exponentials may differ in their last bits between engines; no verdict depends on those. */
const displayTolerance = 1e-9;

const compare = (
  field: string,
  recorded: string | number | null | undefined,
  recomputed: string | number | null,
  tolerance = 0,
): ReplayedValue => {
  const agrees =
    typeof recorded === "number" && typeof recomputed === "number"
      ? Math.abs(recorded - recomputed) <= tolerance
      : recorded === recomputed;
  return { field, recorded: recorded ?? null, recomputed, outcome: agrees ? "equal" : "different" };
};

const asRecorded = (field: string, value: number): ReplayedValue => ({
  field,
  recorded: value,
  recomputed: value,
  outcome: "asRecorded",
});

const readShare = (chain: FrozenChainPayload, feature: Feature): number => {
  const value = chain.features[feature];
  if (value !== undefined && value >= 0 && value <= 1) return value;
  return fail({
    kind: "malformedRecord",
    field: `payload.features.${feature}`,
    rule: "must be between 0 and 1",
  });
};

const replayFeature = (
  { request, features: recorded }: FrozenChainPayload,
  name: Feature,
  { values }: Features,
): ReplayedValue => {
  const field = `features.${name}`;
  // The rate is an observation of that moment.
  if (name === "rate") return asRecorded(field, values.rate);
  if (name !== "entropy") return compare(field, recorded[name], values[name]);
  if (request.input !== null) {
    return compare(field, values.entropy, inputEntropy(request.input), displayTolerance);
  }
  return request.inputBytes === 0
    ? compare(field, values.entropy, 0, displayTolerance)
    : asRecorded(field, values.entropy);
};

const compareAll = (
  chain: FrozenChainPayload,
  model: TrustModel,
  features: Features,
  evaluation: Evaluation,
): readonly ReplayedValue[] => [
  ...FEATURES.map((name) => replayFeature(chain, name, features)),
  ...FEATURES.map((name) =>
    compare(`contributions.${name}`, chain.contributions[name], evaluation.contributions[name]),
  ),
  compare("z", chain.z, evaluation.z),
  compare("score", chain.score, evaluation.score, displayTolerance),
  compare("threshold", chain.threshold, model.threshold),
  compare("review.low", chain.review?.low ?? null, model.review?.low ?? null),
  compare("review.high", chain.review?.high ?? null, model.review?.high ?? null),
  compare("verdict", chain.verdict, evaluation.verdict.kind),
  compare("reason", chain.reason, evaluation.verdict.reason),
];

type Replayed = { readonly values: readonly ReplayedValue[]; readonly verdict: Verdict };

const differing = (values: readonly ReplayedValue[]): ReplayedValue | undefined =>
  values.find(({ outcome }) => outcome === "different");

const replayBy = (chain: FrozenChainPayload, model: TrustModel): Replayed => {
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
  return { values: compareAll(chain, model, features, evaluation), verdict: evaluation.verdict };
};

/** Models by their payloads, as long as those are held: thousands of decisions name one model. */
const parsed = new WeakMap<object, TrustModel>();

const modelOf = (payload: CborValue): TrustModel => {
  if (typeof payload !== "object" || payload === null) return parseModel(payload);
  const model = parsed.get(payload) ?? parseModel(payload);
  parsed.set(payload, model);
  return model;
};

const replayScored = (chain: FrozenChainPayload, modelPayload: CborValue): Replayed => {
  const literally = replayBy(chain, modelOf(modelPayload));
  if (differing(literally.values) === undefined) return literally;
  const canonical = withCanonicalGlobs(modelPayload);
  if (canonical === modelPayload) return literally;
  // Models older than canonical globs decided by the globs' literal text at first, later by their canonical forms; try
  // both.
  const since = replayBy(chain, parseModel(canonical));
  return differing(since.values) === undefined ? since : literally;
};

const outcomeOf = (values: readonly ReplayedValue[]): Replay["outcome"] => {
  if (differing(values) !== undefined) return "different";
  const isPartial = values.some(
    ({ field, outcome }) => field === "features.entropy" && outcome === "asRecorded",
  );
  return isPartial ? "partial" : "equal";
};

/**
 * @param modelPayload of the `trust_model` record whose hash the chain names; not read if a fault decided.
 * @throws malformedRecord for features outside [0, 1], malformedModel.
 */
export const replay = (chain: FrozenChainPayload, modelPayload: CborValue): Replay => {
  const values = isFaultReason(chain.reason)
    ? [compare("verdict", chain.verdict, "deny")]
    : replayScored(chain, modelPayload).values;
  return { outcome: outcomeOf(values), values };
};

/** The first difference of `replay`. @throws as `replay`. */
export const recompute = (chain: FrozenChainPayload, modelPayload: CborValue): Recomputation => {
  const { reason, verdict } = chain;
  if (isFaultReason(reason)) {
    if (verdict === "deny") return { kind: "unscored", reason };
    return { kind: "differs", field: "verdict", recorded: verdict, recomputed: "deny" };
  }
  const replayed = replayScored(chain, modelPayload);
  const wrong = differing(replayed.values);
  if (wrong === undefined) return { kind: "match", verdict: replayed.verdict };
  const { field, recorded, recomputed } = wrong;
  return { kind: "differs", field, recorded: String(recorded), recomputed: String(recomputed) };
};
