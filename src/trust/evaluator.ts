/**
 * Runs the evaluator fail-closed: exceptions, rejections, timeouts and inconsistent answers become faults, and a fault
 * is a deny.
 */
import { evaluatorMsMax } from "../limits.ts";
import {
  FEATURES,
  type Features,
  type Evaluation,
  type TrustModel,
  type FaultReason,
} from "@sigil/core/model";

export type Evaluate = (
  model: TrustModel,
  features: Features,
  signal: AbortSignal,
) => Evaluation | Promise<Evaluation>;

export type Evaluated =
  | { readonly kind: "evaluated"; readonly evaluation: Evaluation }
  | { readonly kind: "fault"; readonly reason: FaultReason };

const fault = (reason: FaultReason): Evaluated => ({ kind: "fault", reason });

/** Whether an answer is consistent with its own numbers. */
const bearsOut = (model: TrustModel, features: Features, evaluation: Evaluation): boolean => {
  const { verdict, z, score, contributions } = evaluation;
  if (!Number.isFinite(z) || !(score >= 0 && score <= 1)) return false;
  if (!FEATURES.every((feature) => Number.isFinite(contributions[feature]))) return false;
  switch (verdict.kind) {
    case "allow":
      return features.rule !== null && z >= model.thresholdZ;
    case "review":
      return model.reviewZ !== null;
    case "deny":
      return typeof verdict.reason === "string";
    default:
      return false;
  }
};

const believed = (model: TrustModel, features: Features, evaluation: Evaluation): Evaluated =>
  bearsOut(model, features, evaluation) ? { kind: "evaluated", evaluation } : fault("EVALUATOR_ERROR");

/** Never throws or rejects. Synchronous if the evaluator is. */
export const runEvaluator = (
  evaluate: Evaluate,
  model: TrustModel,
  features: Features,
  call: { readonly signal: AbortSignal; readonly deadlineMs: number },
): Evaluated | Promise<Evaluated> => {
  try {
    const answer = evaluate(model, features, call.signal);
    if (!(answer instanceof Promise)) return believed(model, features, answer);
    return waitFor(answer, model, features, Math.min(evaluatorMsMax, call.deadlineMs / 2));
  } catch {
    return fault("EVALUATOR_ERROR");
  }
};

const waitFor = async (
  answer: Promise<Evaluation>,
  model: TrustModel,
  features: Features,
  timeoutMs: number,
): Promise<Evaluated> => {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<Evaluated>((resolve) => {
    timer = setTimeout(() => resolve(fault("EVALUATOR_ERROR")), timeoutMs);
  });
  const spoken = answer.then(
    (evaluation) => believed(model, features, evaluation),
    () => fault("EVALUATOR_ERROR"),
  );
  try {
    return await Promise.race([spoken, silence]);
  } catch {
    return fault("EVALUATOR_ERROR");
  } finally {
    clearTimeout(timer);
  }
};
