/**
 * Consistency checks of replies. A reply that contradicts itself or its request never allows: a decision becomes a deny
 * with reason `REPLY_CONTRADICTORY`, an item a failed one, anything else an error. Absent fields are no contradiction,
 * except the audit id of an allow. Pure.
 *
 * Sources: docs/spec/trust.md §4 and §5, the comments of `CheckResponse`.
 */
import { askedOf, questionFault, type Asked } from "./asked.ts";
import { status as Code } from "@grpc/grpc-js";
import { SigilError } from "./error.ts";
import type { BatchWriteRecordsResponse, WriteRecordResponse } from "@sigil/proto/sigil/canon/v1/canon";
import { StepOutcome, type VerifyFrozenChainResponse } from "@sigil/proto/sigil/audit/v1/audit";
import { Status } from "@sigil/proto/google/rpc/status";
import {
  type BatchCheckRequest,
  type BatchCheckResponse,
  type BatchCheckResult,
  type CheckResponse,
  type SimulatedDecision,
  type SimulateResponse,
  type StreamChecksResponse,
} from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict } from "@sigil/proto/sigil/type/v1/type";

const contradictoryReason = "REPLY_CONTRADICTORY";

/** Reasons that cannot accompany an allow. Source: docs/spec/trust.md §5. */
const reasonsOfNoAllow: ReadonlySet<string> = new Set([
  "UNKNOWN_ACTION",
  "LEVEL_TOO_LOW",
  "SCORE_BELOW_THRESHOLD",
  "REVIEW_BAND",
  "MODEL_MISSING",
  "EVALUATOR_ERROR",
  "DEADLINE_EXCEEDED",
]);

/** Relative tolerance for differences between platforms' exponential functions; far below any real margin. */
const tolerance = 1e-9;

/** Infinity is near nothing: no honest number is. */
const isNear = (one: number, other: number): boolean =>
  Number.isFinite(one) &&
  Number.isFinite(other) &&
  Math.abs(one - other) <= tolerance * Math.max(1, Math.abs(one), Math.abs(other));

const isProbability = (value: number): boolean => value >= 0 && value <= 1;

/** Why the numbers of an answer are inconsistent; undefined if they are consistent. Absent numbers are ignored. */
const numbersFault = (answer: CheckResponse): string | undefined => {
  const { score, threshold, bias, z, contributions } = answer;
  if (score !== undefined && !isProbability(score)) return "the score is no probability";
  if (threshold !== undefined && !(threshold > 0 && threshold < 1)) return "the threshold is not in (0, 1)";
  if (z !== undefined && !Number.isFinite(z)) return "z is no number";
  if (bias !== undefined && !Number.isFinite(bias)) return "the bias is no number";
  if (score !== undefined && z !== undefined && !isNear(score, 1 / (1 + Math.exp(-z)))) {
    return "score and z differ";
  }
  for (const { feature, value, weight, contribution } of contributions) {
    if (!isNear(value * weight, contribution)) return `the contribution of ${feature} is not value × weight`;
  }
  if (z === undefined || bias === undefined || contributions.length === 0) return undefined;
  const sum = contributions.reduce((all, { contribution }) => all + contribution, bias);
  return isNear(sum, z) ? undefined : "z is not the sum of bias and contributions";
};

const isBelowThreshold = ({ score, threshold, z }: CheckResponse): boolean => {
  if (threshold === undefined) return false;
  const logit = Math.log(threshold / (1 - threshold));
  if (z !== undefined && z < logit && !isNear(z, logit)) return true;
  return score !== undefined && score < threshold && !isNear(score, threshold);
};

/** Why an answer other than a deny must not be used; undefined if it is consistent. */
const decisionFault = (answer: CheckResponse): string | undefined => {
  const { verdict, allowed, reason, auditId, modelHash } = answer;
  if (allowed !== (verdict === Verdict.VERDICT_ALLOW)) return "allowed and verdict differ";
  if (verdict === Verdict.VERDICT_DENY) return undefined;
  if (verdict !== Verdict.VERDICT_ALLOW && verdict !== Verdict.VERDICT_REVIEW) {
    return `verdict ${verdict} is not known`;
  }
  if (auditId === "") return "it names no record";
  if (modelHash.length !== 0 && modelHash.length !== 32) return "the hash of its model is not 32 bytes";
  const fault = numbersFault(answer);
  if (fault !== undefined || verdict === Verdict.VERDICT_REVIEW) return fault;
  if (reasonsOfNoAllow.has(reason)) return `an allow cannot have the reason ${reason}`;
  return isBelowThreshold(answer) ? "an allow cannot have a score below the threshold" : undefined;
};

/** Returns the answer, turned into a deny if there is a fault. Keeps its audit id, for investigation. */
const denyFor = (fault: string | undefined, answer: CheckResponse): CheckResponse => {
  if (fault === undefined) return answer;
  answer.verdict = Verdict.VERDICT_DENY;
  answer.allowed = false;
  answer.reason = contradictoryReason;
  return answer;
};

/** Turned into a deny if it is inconsistent. */
export const judgeDecision = (answer: CheckResponse): CheckResponse => denyFor(decisionFault(answer), answer);

/** Turned into a deny if it answers another question; a deny stays what it is. */
export const judgeAnswer = (asked: Asked, answer: CheckResponse): CheckResponse =>
  answer.verdict === Verdict.VERDICT_DENY ? answer : denyFor(questionFault(asked, answer), answer);

export const contradiction = (rule: string): SigilError =>
  new SigilError(Code.INTERNAL, `the reply contradicts itself or the request: ${rule}`, {
    reason: contradictoryReason,
  });

type Outcome = BatchCheckResult["outcome"];

/** Judges a decision; an item without one becomes a failed item. */
const judgeOutcome = (outcome: Outcome): NonNullable<Outcome> => {
  switch (outcome?.$case) {
    case "decision":
      return { $case: "decision", value: judgeDecision(outcome.value) };
    case "error":
      if (outcome.value.code !== Code.OK) return outcome;
      break;
    case undefined:
      break;
  }
  const message = "the item holds neither a decision nor an error";
  return { $case: "error", value: Status.fromPartial({ code: Code.INTERNAL, message }) };
};

const judgeResult = (result: BatchCheckResult): BatchCheckResult => {
  result.outcome = judgeOutcome(result.outcome);
  return result;
};

export const judgeResults = (reply: BatchCheckResponse): BatchCheckResponse => {
  for (const result of reply.results) judgeResult(result);
  return reply;
};

export const judgeStreamed = (reply: StreamChecksResponse): StreamChecksResponse => {
  reply.outcome = judgeOutcome(reply.outcome);
  return reply;
};

/** Each decision of a batch by its own question. @throws SigilError */
export const judgeBatch = ({ checks }: BatchCheckRequest, { results }: BatchCheckResponse): void => {
  requireCount(checks.length, results.length);
  for (const [at, { outcome }] of results.entries()) {
    const check = checks[at];
    if (check !== undefined && outcome?.$case === "decision") judgeAnswer(askedOf(check), outcome.value);
  }
};

/** @throws SigilError */
const requireCount = (asked: number, answered: number): void => {
  if (asked !== answered) throw contradiction(`${answered} results for ${asked} items`);
};

/** Checks a simulation, on which people base the approval of a model. @throws SigilError */
export const requireSimulation = (reply: SimulateResponse): void => {
  const { scored, flipped, decisions } = reply;
  const isFlip = ({ current, candidate }: SimulatedDecision): boolean => current !== candidate;
  if (flipped > scored) throw contradiction(`${flipped} flips among ${scored} decisions`);
  if (decisions.length > scored) throw contradiction(`${decisions.length} of ${scored} decisions`);
  if (decisions.filter(isFlip).length > flipped) throw contradiction("it shows more flips than it counts");
  const known: readonly number[] = [Verdict.VERDICT_ALLOW, Verdict.VERDICT_DENY, Verdict.VERDICT_REVIEW];
  for (const { current, candidate, currentScore, candidateScore } of decisions) {
    if (!known.includes(current) || !known.includes(candidate)) throw contradiction("a verdict is not known");
    const scores = [currentScore, candidateScore].filter((score) => score !== undefined);
    if (!scores.every(isProbability)) throw contradiction("a score is no probability");
  }
};

/** Verified only if there are steps and all passed. */
export const judgeVerification = (reply: VerifyFrozenChainResponse): VerifyFrozenChainResponse => {
  const { steps } = reply;
  const holds = steps.length > 0 && steps.every(({ outcome }) => outcome === StepOutcome.STEP_OUTCOME_PASSED);
  reply.verified &&= holds;
  return reply;
};

/** Checks that the written record is the requested one. @throws SigilError */
export const requireWritten = (id: string, { record }: WriteRecordResponse): void => {
  if (record === undefined) throw contradiction("it holds no record");
  if (record.id !== id) throw contradiction("the record is another one than the one written");
};

/** @throws SigilError */
export const requireAllWritten = (ids: readonly string[], { results }: BatchWriteRecordsResponse): void => {
  requireCount(ids.length, results.length);
  for (const [at, result] of results.entries()) requireWritten(ids[at] ?? "", result);
};
