/** The recorded outcome of a decision. */
import type { FrozenChainPayload } from "@sigil/core/record";
import type { LoadedModel } from "./active-model.ts";
import type { Evaluated } from "./evaluator.ts";
import type { Features } from "@sigil/core/model";

/** Without a model or an evaluation: a deny with the reason. */
export const describeOutcome = (
  evaluated: Evaluated,
  model: LoadedModel | undefined,
  features: Features | undefined,
): Omit<FrozenChainPayload, "request" | "steps" | "durationUs" | "callerSeq"> => {
  const common = {
    features: features?.values ?? {},
    model: { id: model?.id ?? "", hash: model?.hash ?? null },
    threshold: model?.model.threshold ?? null,
    review: model?.model.review ?? null,
  };
  if (evaluated.kind === "fault") {
    return { ...common, contributions: {}, z: null, score: null, verdict: "deny", reason: evaluated.reason };
  }
  const { contributions, z, score, verdict } = evaluated.evaluation;
  return {
    ...common,
    contributions: { ...contributions },
    z,
    score,
    verdict: verdict.kind,
    reason: verdict.reason,
  };
};
