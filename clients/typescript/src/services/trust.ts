/** Decisions, by calls that check each answer and remember its number. */
import * as trust from "@sigil/proto/sigil/trust/v1/trust";
import { judgeAnswer, judgeBatch, OpenQuestions, requireSimulation } from "../answer.ts";
import { askedOf } from "../asked.ts";
import { callDuplex, hasOwnToken, type CallContext, type CallOptions } from "../call.ts";
import type { Remembering } from "../remember.ts";
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

/** Yields answers, checking each against an open question. */
async function* streamChecks(
  stub: trust.TrustServiceClient,
  requests: Streamed<trust.StreamChecksRequest>,
  context: CallContext,
  options: CallOptions | undefined,
  remembering: Remembering | undefined,
): AsyncGenerator<trust.StreamChecksResponse, void, undefined> {
  const open = new OpenQuestions();
  const numbers = remembering && new StreamNumbers(remembering);
  const asked = async function* (): AsyncGenerator<trust.StreamChecksRequest, void, undefined> {
    for await (const request of completed<trust.StreamChecksRequest>(trust.StreamChecksRequest, requests)) {
      await open.ask(request);
      await numbers?.ask(request);
      yield request;
    }
  };
  try {
    for await (const answer of callDuplex(stub.streamChecks.bind(stub), asked(), context, options)) {
      open.answer(answer);
      await numbers?.answer(answer);
      yield answer;
    }
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
const remembered =
  <Request, Response>(
    remembering: Remembering | undefined,
    call: Unary<Request, Response>,
    decisionsIn: (response: Response) => readonly trust.CheckResponse[],
  ): Unary<Request, Response> =>
  async (request, options) => {
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

const decisionsOf = ({ results }: trust.BatchCheckResponse): readonly trust.CheckResponse[] =>
  results.flatMap(({ outcome }) => (outcome?.$case === "decision" ? [outcome.value] : []));

export const trustClient = (
  stub: trust.TrustServiceClient,
  context: CallContext,
  remembering: Remembering | undefined,
): TrustClient => ({
  check: remembered(
    remembering,
    keyed(context, trust.CheckRequest, stub.check.bind(stub), {
      after: (request, decision) => judgeAnswer(askedOf(request), decision),
    }),
    (decision) => [decision],
  ),
  batchCheck: remembered(
    remembering,
    keyed(context, trust.BatchCheckRequest, stub.batchCheck.bind(stub), {
      after: judgeBatch,
    }),
    decisionsOf,
  ),
  streamChecks: (requests, options) =>
    streamChecks(stub, requests, context, options, ownNumbers(remembering, options)),
  getActiveModel: reading(context, trust.GetActiveModelRequest, stub.getActiveModel.bind(stub)),
  simulate: reading(context, trust.SimulateRequest, stub.simulate.bind(stub), {
    after: (_request, response) => requireSimulation(response),
  }),
});
