/**
 * TrustService over gRPC: decode → authenticate → authorize → service → encode. The first three and all errors are
 * handled by the wrappers (unary.ts, stream.ts); this file converts requests to checks and decisions to replies.
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import type {
  BatchCheckRequest,
  BatchCheckResponse,
  BatchCheckResult,
  GetActiveModelRequest,
  GetActiveModelResponse,
  SimulateRequest,
  StreamChecksRequest,
  StreamChecksResponse,
} from "@sigil/proto/sigil/trust/v1/trust";
import {
  CheckRequest,
  CheckResponse,
  SimulatedDecision,
  SimulateResponse,
  TrustServiceService,
} from "@sigil/proto/sigil/trust/v1/trust";
import type { CborMap } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import { batchAnswerBytesMax, batchItemsMax, simulateDecisionsMax } from "../../limits.ts";
import { mapPaced, type CallContext, type Caller } from "../../identity/caller.ts";
import { isAtLeast } from "@sigil/core/record";
import type { QuorumService } from "../../canon/service.ts";
import type { BatchItem, BatchQuestion, CheckQuestion, SimulateQuestion } from "../../trust/decision.ts";
import type { TrustService } from "../../trust/service.ts";
import { occurrenceOf } from "../call/ending.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readIdempotencyKey, readQuestion, readRecordId, readText } from "../message/fields.ts";
import { nameModel } from "../message/model-fields.ts";
import { encodedBytes, fitOne, fittingCount, replyLimitOf, requireRoom } from "../bounds/reply-limit.ts";
import { statusOf, type Occurrence } from "../status.ts";
import { bidirectional } from "../call/stream.ts";
import { withoutEvidence } from "../bounds/shorter.ts";
import { proofFor, readRecordProof, type RecordedProver } from "../message/recorded-proof.ts";
import { formatActiveModel, formatDecision, formatSimulation, readCandidate } from "./messages.ts";
import { provableOf, withProofs } from "./proofs.ts";
import { unary, type Answer } from "../call/unary.ts";

/** Adds the item's metadata for its record. */
const withMetadata = (question: CheckQuestion, { itemMetadata }: CallContext, index: number): CheckQuestion =>
  itemMetadata === undefined ? question : { ...question, metadata: itemMetadata[index] };

const checkHandler =
  (
    trust: TrustService,
    prover: RecordedProver,
    { trustDomain }: RpcEnvironment,
  ): Answer<CheckRequest, CheckResponse> =>
  async (caller, request, call) => {
    const question = withMetadata(readQuestion(request, trustDomain), call, 0);
    const wanted = readRecordProof(request.proof);
    const decision = await trust.check(caller, question, call);
    const answer = formatDecision(decision, request.disclose);
    if (wanted === "none") return answer;
    const proof = await proofFor(prover, provableOf(decision, request), { caller, call });
    const proven = { ...answer, proof };
    // Without evidence it fits any caller's reply.
    return wanted === "inclusion"
      ? proven
      : fitOne(CheckResponse, proven, [withoutEvidence], replyLimitOf(call));
  };

const correlationBytesMax = 128;

/** An invalid id is not echoed, since it may be as long as a message. */
const echoedId = (correlationId: string): string => {
  try {
    return readText(correlationId, "correlation_id", correlationBytesMax);
  } catch {
    return "";
  }
};

const streamHandler =
  (
    trust: TrustService,
    prover: RecordedProver,
    { trustDomain }: RpcEnvironment,
  ): Answer<StreamChecksRequest, StreamChecksResponse> =>
  async (caller, { correlationId, check }, call) => {
    readText(correlationId, "correlation_id", correlationBytesMax);
    if (check === undefined) return invalidField("check", "must be given");
    // Answers that nobody reads are held, as many as are in flight.
    if (readRecordProof(check.proof, "check.proof") === "evidence")
      invalidField("check.proof", "must not be evidence in a stream; AuditService.GetEvidence gives it");
    const decision = await trust.check(caller, readQuestion(check, trustDomain, "check."), call);
    const proof = await proofFor(prover, provableOf(decision, check), { caller, call });
    const value = { ...formatDecision(decision, check.disclose), proof };
    return { correlationId, outcome: { $case: "decision", value } };
  };

const readItem = (
  request: CheckRequest,
  index: number,
  trustDomain: string,
  call: CallContext,
): BatchQuestion => {
  try {
    return withMetadata(readQuestion(request, trustDomain, `checks[${index}].`), call, index);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    const digest = sha256(CheckRequest.encode(request).finish());
    return { kind: "malformed", error: error.error, digest };
  }
};

const requireBatch = ({ checks, idempotencyKey }: BatchCheckRequest, call: CallContext): void => {
  if (checks.length === 0 || checks.length > batchItemsMax) {
    invalidField("checks", `must be 1 to ${batchItemsMax}, got ${checks.length}`);
  }
  readIdempotencyKey(idempotencyKey);
  const keyed = checks.findIndex((check) => check.idempotencyKey !== "");
  if (keyed >= 0) invalidField(`checks[${keyed}].idempotency_key`, "must be empty; the batch has one");
  for (const [index, { proof }] of checks.entries()) readRecordProof(proof, `checks[${index}].proof`);
  requireRoom(
    "checks",
    checks.map(() => batchAnswerBytesMax),
    call,
  );
};

const errorResult = (thrown: unknown, occurrence: Occurrence): BatchCheckResult => ({
  outcome: { $case: "error", value: statusOf(thrown, occurrence) },
});

const decidedResult = (
  item: BatchItem | undefined,
  disclose: boolean,
  occurrence: Occurrence,
): BatchCheckResult => {
  if (item === undefined)
    return errorResult(new Error("the batch has fewer answers than questions"), occurrence);
  if (item.kind === "failed") return errorResult(new SigilFault(item.error), occurrence);
  return { outcome: { $case: "decision", value: formatDecision(item.decision, disclose) } };
};

const batchHandler =
  (
    trust: TrustService,
    prover: RecordedProver,
    rpc: RpcEnvironment,
  ): Answer<BatchCheckRequest, BatchCheckResponse> =>
  async (caller, request, call) => {
    requireBatch(request, call);
    await call.pace?.weigh(request.checks.length);
    const questions = await mapPaced(call, request.checks, (check, index) =>
      readItem(check, index, rpc.trustDomain, call),
    );
    const answers = await trust.batchCheck(caller, questions, request.idempotencyKey, call);
    const occurrence = occurrenceOf(
      rpc,
      TrustServiceService.batchCheck.path,
      call.metadata["request_id"] ?? "",
    );
    const results = await mapPaced(call, request.checks, ({ disclose }, index) =>
      decidedResult(answers[index], disclose, occurrence),
    );
    const response = { results: [...results], sharedProof: undefined };
    return withProofs(prover, { request, items: answers, response }, { caller, call });
  };

const readMatter = (
  { subjectMatter: matter }: SimulateRequest,
  trustDomain: string,
): SimulateQuestion["matter"] => {
  switch (matter?.$case) {
    case "check":
      return { kind: "check", question: readQuestion(matter.value, trustDomain, "check.") };
    case "lastDecisions":
      if (matter.value < 1 || matter.value > simulateDecisionsMax) {
        return invalidField("last_decisions", `must be 1 to ${simulateDecisionsMax}`);
      }
      return { kind: "last", decisions: matter.value };
    case undefined:
      return invalidField("subject_matter", "must be check or last_decisions");
  }
};

const simulatePath = TrustServiceService.simulate.path;

/** The simulated candidate: a model, or a proposed one. */
type Simulated =
  | { readonly kind: "model"; readonly payload: CborMap }
  | { readonly kind: "proposal"; readonly id: string };

/**
 * A candidate in the request needs level Mentor, since it can probe the tenant's decisions at will; a proposed one is
 * already in the ledger.
 */
const readSimulated = (caller: Caller, request: SimulateRequest): Simulated => {
  const { candidate, proposalId } = request;
  if (candidate === undefined) {
    if (proposalId === "") return invalidField("candidate", "must be given, or proposal_id");
    return { kind: "proposal", id: readRecordId(proposalId, "proposal_id") };
  }
  if (proposalId !== "") return invalidField("proposal_id", "must be empty when candidate is given");
  if (!isAtLeast(caller.level, "mentor")) {
    return fail({ kind: "levelTooLow", rpc: simulatePath, needed: "mentor", actual: caller.level });
  }
  return { kind: "model", payload: readCandidate(candidate) };
};

/** The part of Canon that reads proposals. */
type Proposals = Pick<QuorumService, "get">;

/** Reads a proposed model from Canon. @throws notFound, and invalidField if the proposal is not for a model. */
const candidateOf = async (
  proposals: Proposals,
  caller: Caller,
  simulated: Simulated,
): Promise<SimulateQuestion["candidate"]> => {
  if (simulated.kind === "model") return simulated;
  const { body } = (await proposals.get(caller, simulated.id)).proposal;
  if (body.kind !== "trust_model")
    return invalidField("proposal_id", "must name a proposal of a trust model");
  return { kind: "proposed", payload: body.payload };
};

/** Counts cover all decisions; lists only as many as fit. */
const fitSimulation = (reply: SimulateResponse, limit: number): SimulateResponse => {
  if (encodedBytes(SimulateResponse, reply) <= limit) return reply;
  const bytes = reply.decisions.map((decision) => encodedBytes(SimulatedDecision, decision));
  return { ...reply, decisions: reply.decisions.slice(0, fittingCount(bytes, limit - 64)) };
};

const simulateHandler =
  (
    trust: TrustService,
    proposals: Proposals,
    { trustDomain }: RpcEnvironment,
  ): Answer<SimulateRequest, SimulateResponse> =>
  async (caller, request, call) => {
    const simulated = readSimulated(caller, request);
    const matter = readMatter(request, trustDomain);
    const { includeUnchanged } = request;
    const candidate = await candidateOf(proposals, caller, simulated);
    const name = simulated.kind === "model" ? "candidate" : "proposal_id";
    const question = { candidate, matter, includeUnchanged };
    const reply = formatSimulation(await nameModel(name, () => trust.simulate(caller, question, call)));
    return fitSimulation(reply, replyLimitOf(call));
  };

export const trustHandlers = (
  trust: TrustService,
  proposals: Proposals,
  prover: RecordedProver,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  check: unary(rpc, TrustServiceService.check.path, checkHandler(trust, prover, rpc)),
  batchCheck: unary(rpc, TrustServiceService.batchCheck.path, batchHandler(trust, prover, rpc)),
  streamChecks: bidirectional<StreamChecksRequest, StreamChecksResponse>(
    rpc,
    TrustServiceService.streamChecks.path,
    {
      answer: streamHandler(trust, prover, rpc),
      refuse: (request, error) => ({
        correlationId: echoedId(request?.correlationId ?? ""),
        outcome: { $case: "error", value: error },
      }),
    },
  ),
  getActiveModel: unary<GetActiveModelRequest, GetActiveModelResponse>(
    rpc,
    TrustServiceService.getActiveModel.path,
    async () => formatActiveModel(await trust.activeModel()),
  ),
  simulate: unary(rpc, simulatePath, simulateHandler(trust, proposals, rpc)),
});
