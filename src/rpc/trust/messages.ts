/** Converts decisions, models and simulations to protobuf, and candidate models from it. */
import type {
  CheckResponse,
  Contribution,
  GetActiveModelResponse,
  SimulateResponse,
  TrustModel,
} from "@sigil/proto/sigil/trust/v1/trust";
import { cborEncode, type CborMap } from "@sigil/core/cbor";
import { formatDisclosures, type Disclosures, type TrustModelPayload } from "@sigil/core/record";
import type { ActiveModel, Decision, Simulation } from "../../trust/decision.ts";
import { FEATURES } from "@sigil/core/model";
import { readLevel } from "../message/fields.ts";
import { formatLevel, formatTime, formatVerdict } from "../message/vocabulary.ts";

const contributionsOf = ({ chain, model }: Decision): Contribution[] => {
  const contributions: Contribution[] = [];
  if (model === null) return contributions;
  for (const feature of FEATURES) {
    const value = chain.features[feature];
    const contribution = chain.contributions[feature];
    if (value === undefined || contribution === undefined) continue;
    contributions.push({ feature, value, weight: model.weights[feature] ?? 0, contribution });
  }
  return contributions;
};

const nothing = new Uint8Array(0);

/** Without raw inputs, which the caller has. */
export const openingsOf = (disclosures: Disclosures): Disclosures =>
  Object.fromEntries(
    Object.entries(disclosures).map(([path, { salt, value }]) => [path, { salt, value }] as const),
  );

export const formatDecision = (decision: Decision, disclose: boolean): CheckResponse => {
  const { chain, model } = decision;
  return {
    verdict: formatVerdict(chain.verdict),
    allowed: chain.verdict === "allow",
    score: chain.score ?? undefined,
    threshold: chain.threshold ?? undefined,
    bias: model?.bias,
    z: chain.z ?? undefined,
    contributions: contributionsOf(decision),
    reason: chain.reason,
    auditId: decision.auditId,
    ledgerPosition: decision.position,
    modelHash: chain.model.hash ?? nothing,
    subject: chain.request.subject,
    level: formatLevel(chain.request.loa),
    time: formatTime(decision.timeMs),
    replayed: decision.replayed,
    inputDigest: chain.request.inputDigest ?? nothing,
    callerSeq: BigInt(chain.callerSeq ?? 0),
    proof: undefined,
    disclosures: disclose ? cborEncode(formatDisclosures(openingsOf(decision.disclosures))) : nothing,
  };
};

const formatModel = (model: TrustModelPayload): TrustModel => ({
  bias: model.bias,
  weights: { ...model.weights },
  threshold: model.threshold,
  review: model.review === null ? undefined : { low: model.review.low, high: model.review.high },
  actions: Object.fromEntries(
    Object.entries(model.actions).map(([glob, { risk, minLoa }]) => [
      glob,
      { risk, minLevel: formatLevel(minLoa) },
    ]),
  ),
  targets: { ...model.targets },
  rateWindowMs: BigInt(model.rate.windowMs),
  rateLimit: model.rate.limit,
});

export const formatActiveModel = ({ id, hash, position, model }: ActiveModel): GetActiveModelResponse => ({
  id,
  hash,
  ledgerPosition: position,
  model: formatModel(model),
});

/** Converts to a trust_model payload; its rules are checked where models are loaded. */
export const readCandidate = (model: TrustModel): CborMap => ({
  bias: model.bias,
  weights: model.weights,
  threshold: model.threshold,
  review: model.review === undefined ? null : { low: model.review.low, high: model.review.high },
  actions: Object.fromEntries(
    Object.entries(model.actions).map(([glob, { risk, minLevel }]) => [
      glob,
      { risk, min_loa: readLevel(minLevel, `candidate.actions["${glob}"].min_level`) },
    ]),
  ),
  targets: model.targets,
  rate: { window_ms: Number(model.rateWindowMs), limit: model.rateLimit },
});

export const formatSimulation = ({
  scored,
  flipped,
  erased,
  decisions,
  warnings,
}: Simulation): SimulateResponse => ({
  warnings: [...warnings],
  scored,
  erased,
  flipped,
  decisions: decisions.map((decision) => ({
    auditId: decision.auditId,
    action: decision.action,
    target: decision.target,
    subject: decision.subject,
    current: formatVerdict(decision.current),
    candidate: formatVerdict(decision.candidate),
    currentScore: decision.currentScore ?? undefined,
    candidateScore: decision.candidateScore ?? undefined,
    candidateReason: decision.candidateReason,
  })),
});
