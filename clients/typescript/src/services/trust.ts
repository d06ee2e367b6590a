/** Decisions, by calls that check each answer and remember its number. */
import * as trust from "@sigil/proto/sigil/trust/v1/trust";
import { judgeAnswer, judgeBatch, requireSimulation } from "../answer.ts";
import { OpenQuestions } from "../open-questions.ts";
import { askedOf } from "../asked.ts";
import { callDuplex, hasOwnToken, type CallContext, type CallOptions } from "../call.ts";
import type { Remembering } from "../remember.ts";
import { DecisionProver } from "../verify/prover.ts";
import { StreamNumbers } from "../stream-numbers.ts";
import { completed, keyed, reading, type Streamed, type Unary } from "./method.ts";

export type TrustClient = {
  readonly check: Unary<trust.CheckRequest, trust.CheckResponse>;
  readonly batchCheck: Unary<trust.BatchCheckRequest, trust.BatchCheckResponse>;
  /** Answers may come in another order; match them by correlationId. */
  readonly streamChecks: (
    requests: Streamed<trust.StreamChecksRequest>,
    options?: CallOptions,
  ) => AsyncGenerator<trust.StreamChecksResponse, void, undefined>;
  readonly getActiveModel: Unary<trust.GetActiveModelRequest, trust.GetActiveModelResponse>;
  readonly simulate: Unary<trust.SimulateRequest, trust.SimulateResponse>;
};

/** What is done with each answer before it is handed on. */
type Judging = {
  readonly remembering?: Remembering | undefined;
  readonly prover?: DecisionProver | undefined;
};

const provenQuestion = ({ correlationId, check }: trust.StreamChecksRequest): trust.StreamChecksRequest => ({
  correlationId,
  check: check && DecisionProver.asking(check),
});

/** A check whose answer is proved before it is handed on. */
const provenCheck =
  (prover: DecisionProver, call: TrustClient["check"]): TrustClient["check"] =>
  async (request, options) => {
    await prover.ready(options);
    const asked = trust.CheckRequest.fromPartial(request);
    const asking = prover.begin(asked);
    try {
      const decision = await call(DecisionProver.asking(asked), options);
      await prover.verify(asking, { decision }, options?.signal);
      return decision;
    } finally {
      prover.end(asking);
    }
  };

/** A batch whose decisions are proved; in place of one that is not there is an error. */
const provenBatch =
  (prover: DecisionProver, call: TrustClient["batchCheck"]): TrustClient["batchCheck"] =>
  async (request, options) => {
    await prover.ready(options);
    const { checks, idempotencyKey } = trust.BatchCheckRequest.fromPartial(request);
    const asking = checks.map((check) => prover.begin(check, idempotencyKey));
    try {
      const reply = await call(
        { checks: checks.map((check) => DecisionProver.asking(check)), idempotencyKey },
        options,
      );
      for (const [at, result] of reply.results.entries()) {
        const [each, { outcome }] = [asking[at], result];
        if (each === undefined || outcome?.$case !== "decision") continue;
        result.outcome = await prover.outcome(
          each,
          { decision: outcome.value, shared: reply.sharedProof },
          outcome,
        );
      }
      return reply;
    } finally {
      for (const each of asking) prover.end(each);
    }
  };

/** Yields answers, checking each against an open question. */
async function* streamChecks(
  stub: trust.TrustServiceClient,
  requests: Streamed<trust.StreamChecksRequest>,
  context: CallContext,
  options: CallOptions | undefined,
  { remembering, prover }: Judging,
): AsyncGenerator<trust.StreamChecksResponse, void, undefined> {
  await prover?.ready(options);
  const open = new OpenQuestions(prover);
  const numbers = remembering && new StreamNumbers(remembering);
  const asked = async function* (): AsyncGenerator<trust.StreamChecksRequest, void, undefined> {
    for await (const given of completed<trust.StreamChecksRequest>(trust.StreamChecksRequest, requests)) {
      const request = prover === undefined ? given : provenQuestion(given);
      await open.ask(request);
      await numbers?.ask(request);
      yield request;
    }
  };
  try {
    for await (const answer of callDuplex(stub.streamChecks.bind(stub), asked(), context, options)) {
      await open.answer(answer);
      await numbers?.answer(answer);
      yield answer;
    }
    open.requireAnswered();
  } finally {
    open.close();
    numbers?.close();
  }
}

/** Of the calls that are the connection's own caller's. */
const ownNumbers = (
  remembering: Remembering | undefined,
  options: CallOptions = {},
): Remembering | undefined => (hasOwnToken(options) ? undefined : remembering);

/** The same, with the numbers of its decisions remembered before they are handed on. */
const remembered = <Request, Response>(
  remembering: Remembering | undefined,
  call: Unary<Request, Response>,
  decisionsIn: (response: Response) => readonly trust.CheckResponse[],
): Unary<Request, Response> => {
  if (remembering === undefined) return call;
  return async (request, options) => {
    const own = ownNumbers(remembering, options);
    if (own === undefined) return call(request, options);
    const asked = await own.ask();
    try {
      const response = await call(request, options);
      await own.take(asked, decisionsIn(response));
      return response;
    } finally {
      own.settle(asked);
    }
  };
};

const decisionsOf = ({ results }: trust.BatchCheckResponse): readonly trust.CheckResponse[] =>
  results.flatMap(({ outcome }) => (outcome?.$case === "decision" ? [outcome.value] : []));

export const trustClient = (
  stub: trust.TrustServiceClient,
  context: CallContext,
  { remembering, prover }: Judging,
): TrustClient => {
  const check = keyed(context, trust.CheckRequest, stub.check.bind(stub), {
    after: (request, decision) => judgeAnswer(askedOf(request), decision),
  });
  const batchCheck = keyed(context, trust.BatchCheckRequest, stub.batchCheck.bind(stub), {
    after: judgeBatch,
  });
  return {
    check: remembered(remembering, prover === undefined ? check : provenCheck(prover, check), (decision) => [
      decision,
    ]),
    batchCheck: remembered(
      remembering,
      prover === undefined ? batchCheck : provenBatch(prover, batchCheck),
      decisionsOf,
    ),
    streamChecks: (requests, options) =>
      streamChecks(stub, requests, context, options, {
        remembering: ownNumbers(remembering, options),
        prover,
      }),
    getActiveModel: reading(context, trust.GetActiveModelRequest, stub.getActiveModel.bind(stub)),
    simulate: reading(context, trust.SimulateRequest, stub.simulate.bind(stub), {
      after: (_request, response) => requireSimulation(response),
    }),
  };
};
