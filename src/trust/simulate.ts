/**
 * What a candidate model would have said. Records nothing. Decisions that were recorded are scored on the rate and the
 * entropy they were decided on; the candidate's tables and weights are applied anew.
 */
import { fail } from "../record/errors.ts";
import { simulateDecisionsMax } from "../record/limits.ts";
import { parseFrozenChain, type FrozenChainPayload } from "../record/kinds.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LoadedModel } from "./active-model.ts";
import type { CallContext, SimulateQuestion, SimulatedDecision, Simulation } from "./decision.ts";
import { gatherFeatures, lookUpFeatures, type Observation } from "./features.ts";
import { evaluate, parseModel, type TrustModel } from "./model.ts";

const summarise = (decisions: readonly SimulatedDecision[], includeUnchanged: boolean): Simulation => {
  const flips = decisions.filter(({ current, candidate }) => current !== candidate);
  return {
    scored: decisions.length,
    flipped: flips.length,
    decisions: includeUnchanged ? decisions : flips,
  };
};

/** One question under the active model and the candidate. @throws malformedModel. */
export const simulateCheck = (
  active: LoadedModel,
  question: SimulateQuestion,
  observation: Observation,
  subject: string,
): Simulation => {
  const candidateModel = parseModel(question.candidate);
  const current = evaluate(active.compiled, gatherFeatures(active.compiled, observation));
  const candidate = evaluate(candidateModel, gatherFeatures(candidateModel, observation));
  const decision: SimulatedDecision = {
    auditId: "",
    action: observation.action,
    target: observation.target,
    subject,
    current: current.verdict.kind,
    candidate: candidate.verdict.kind,
    currentScore: current.score,
    candidateScore: candidate.score,
    candidateReason: candidate.verdict.reason,
  };
  return summarise([decision], question.includeUnchanged);
};

const rescore = (model: TrustModel, auditId: string, chain: FrozenChainPayload): SimulatedDecision => {
  const { action, target, subject, loa } = chain.request;
  const measured = { rate: chain.features["rate"] ?? 1, entropy: chain.features["entropy"] ?? 1 };
  const candidate = evaluate(model, lookUpFeatures(model, { action, target, level: loa }, measured));
  return {
    auditId,
    action,
    target,
    subject,
    current: chain.verdict,
    candidate: candidate.verdict.kind,
    currentScore: chain.score,
    candidateScore: candidate.score,
    candidateReason: candidate.verdict.reason,
  };
};

/** The last decisions of a tenant under the candidate. @throws malformedModel, recordCorrupt, cancelled. */
export const simulateLast = async (
  ledger: Ledger,
  question: Omit<SimulateQuestion, "matter"> & { readonly tenant: string; readonly decisions: number },
  call: CallContext,
): Promise<Simulation> => {
  const model = parseModel(question.candidate);
  const wanted = Math.min(question.decisions, simulateDecisionsMax);
  const decisions: SimulatedDecision[] = [];
  const { tenant } = question;
  const walk = { tenant, filter: {}, order: "newestFirst", size: ledger.size, scanMax: wanted } as const;
  for await (const { position } of ledger.decisions(walk)) {
    if (call.signal.aborted) return fail({ kind: "cancelled" });
    const { body } = await ledger.readAt(position);
    decisions.push(rescore(model, body.id, parseFrozenChain(body.payload)));
  }
  return summarise(decisions, question.includeUnchanged);
};
