/**
 * The AuthZEN Authorization API 1.0: its requests become calls of the registered handlers of Check and BatchCheck, as
 * gRPC's do, so that identity, pacing, limits, metrics and records have one implementation. Errors are plain messages.
 * Source: docs/operating/authzen.md.
 */
import {
  BatchCheckRequest,
  BatchCheckResponse,
  type BatchCheckResult,
  CheckRequest,
  CheckResponse,
  TrustServiceService,
} from "@sigil/proto/sigil/trust/v1/trust";
import { assert, invalidField } from "../../errors.ts";
import { allowedMs } from "../../rpc/call/context.ts";
import type { RpcEnvironment } from "../../rpc/call/environment.ts";
import { serviceErrorOf } from "../../rpc/status.ts";
import type { Answer } from "../http/answer.ts";
import type { HttpRequest } from "../http/call.ts";
import { idempotencyKeyOf, requireJsonType, timeoutMsOf, valuesOf } from "../http/headers.ts";
import { CallFailed, httpStatusOf, Refused, type Problem } from "../http/problem.ts";
import type { Arrived, Protocol } from "../http/protocol.ts";
import { methodsOf, type Services, type Unary } from "../http/serving.ts";
import { Steps } from "../http/steps.ts";
import { basePathOf, evaluationPath, evaluationsPath, formatMetadata, wellKnownPath } from "./discovery.ts";
import {
  readMany,
  readOne,
  type Asked,
  type Evaluation,
  type Item,
  type Many,
  type ReadRules,
} from "./evaluations.ts";
import type { NameRules } from "./names.ts";
import { formatDecision, formatError, type Evaluated } from "./reply.ts";

export type AuthzenOptions = {
  readonly rpc: Pick<RpcEnvironment, "nowMs" | "deadlines">;
  readonly services: Services;
  /** Of a body, as of a message. */
  readonly bytesMax: number;
  /** Without a slash at its end; "" for none, and no metadata. */
  readonly publicUrl: string;
  readonly names: NameRules;
};

type Endpoint = {
  readonly method: "GET" | "POST";
  readonly answer: (exchange: Arrived) => Promise<unknown>;
};

const metadataOf = ({ digest }: Evaluation): Readonly<Record<string, string>> =>
  digest === undefined ? {} : { authzen_digest: digest };

/** An invalid item becomes a check that fails: so it is authenticated, charged and counted like any other. */
const checkOf = (item: Item): CheckRequest =>
  item.kind === "fit" ? item.check : CheckRequest.fromPartial({});

const noAnswer = "an evaluation has no answer";

const evaluatedOf = (item: Item | undefined, result: BatchCheckResult | undefined): Evaluated => {
  assert(item !== undefined && result?.outcome !== undefined, noAnswer);
  if (item.kind === "unfit") return formatError(400, item.message);
  const { outcome } = result;
  return outcome.$case === "decision"
    ? formatDecision(outcome.value, item)
    : formatError(httpStatusOf(outcome.value.code), outcome.value.message);
};

/** @throws CallFailed if there is no decision. */
const evaluatedAlone = (
  evaluation: Evaluation,
  result: BatchCheckResult | undefined,
  requestId: string,
): Evaluated => {
  assert(result?.outcome !== undefined, noAnswer);
  if (result.outcome.$case === "error") throw new CallFailed(serviceErrorOf(result.outcome.value, requestId));
  return formatDecision(result.outcome.value, evaluation);
};

/** Whether nothing is left to be decided. */
const isOver = ({ semantic, items }: Many, evaluated: readonly Evaluated[]): boolean =>
  evaluated.length === items.length || evaluated.at(-1)?.decision === (semantic === "permit_on_first_permit");

export class Authzen implements Protocol {
  readonly #options: AuthzenOptions;
  readonly #read: ReadRules;
  readonly #check: Unary;
  readonly #batch: Unary;
  readonly #endpoints: ReadonlyMap<string, Endpoint>;

  constructor(options: AuthzenOptions) {
    this.#options = options;
    this.#read = { names: options.names, unreadBytesMax: options.bytesMax };
    const methods = methodsOf(options.services);
    const unary = (path: string): Unary => {
      const method = methods.get(path);
      assert(method?.kind === "unary", `${path} has no handler`);
      return method;
    };
    this.#check = unary(TrustServiceService.check.path);
    this.#batch = unary(TrustServiceService.batchCheck.path);
    const base = basePathOf(options.publicUrl);
    const evaluation: Endpoint = { method: "POST", answer: (exchange) => this.#evaluate(exchange) };
    const evaluations: Endpoint = { method: "POST", answer: (exchange) => this.#evaluateMany(exchange) };
    const metadata: Endpoint = { method: "GET", answer: async () => formatMetadata(options.publicUrl) };
    this.#endpoints = new Map([
      [evaluationPath, evaluation],
      [base + evaluationPath, evaluation],
      [evaluationsPath, evaluations],
      [base + evaluationsPath, evaluations],
      ...(options.publicUrl === ""
        ? []
        : ([
            [wellKnownPath, metadata],
            [wellKnownPath + base, metadata],
          ] as const)),
    ]);
  }

  readonly takes = (path: string): boolean => this.#endpoints.has(path);

  /** The specification has 400 for a wrong content type, and a plain message for everything. */
  readonly problem = ({ status, headers, members }: Problem): Answer => ({
    status: status === 415 ? 400 : status,
    headers: { ...headers, "content-type": "text/plain; charset=utf-8" },
    text: String(members["detail"]),
  });

  /** As it came, which need not be fit for logs. */
  readonly answeredId = ({ rawHeaders }: HttpRequest, requestId: string): string => {
    const [given = "", second] = valuesOf(rawHeaders, "x-request-id");
    return given === "" || second !== undefined ? requestId : given;
  };

  async answer(arrived: Arrived): Promise<Answer> {
    const { request, path } = arrived;
    const endpoint = this.#endpoints.get(path);
    assert(endpoint !== undefined, `${path} is no path of AuthZEN`);
    const { method } = endpoint;
    if (request.method !== method)
      throw new Refused("OTHER_METHOD", `the path takes ${method}`, { allow: method });
    const text = JSON.stringify(await endpoint.answer(arrived));
    return { status: 200, headers: { "content-type": "application/json" }, text };
  }

  async #evaluate(exchange: Arrived): Promise<Evaluated> {
    const steps = this.#begin(exchange);
    const idempotencyKey = idempotencyKeyOf(exchange.request.rawHeaders) ?? "";
    const body = await exchange.body();
    let evaluation: Evaluation | undefined;
    const reply = await steps.call(this.#check, {
      bytes: () => {
        evaluation = readOne(body, this.#read);
        return CheckRequest.encode({ ...evaluation.check, idempotencyKey }).finish();
      },
      itemMetadata: () => (evaluation === undefined ? undefined : [metadataOf(evaluation)]),
    });
    assert(evaluation !== undefined, "a request was answered that nobody read");
    return formatDecision(CheckResponse.decode(reply), evaluation);
  }

  /**
   * The body is read in its caller's turn, by the first batch: it is all of them, or the one that others may follow.
   */
  async #evaluateMany(exchange: Arrived): Promise<unknown> {
    const steps = this.#begin(exchange);
    const idempotencyKey = idempotencyKeyOf(exchange.request.rawHeaders) ?? "";
    const body = await exchange.body();
    let asked: Asked | undefined;
    const read = (): readonly Item[] => {
      asked = readMany(body, this.#read);
      if (asked.kind === "one") return [asked.evaluation];
      if (asked.semantic === "execute_all") return asked.items;
      if (idempotencyKey !== "") invalidField("Idempotency-Key", "goes with execute_all alone");
      return asked.items.slice(0, 1);
    };
    const first = await this.#decide(steps, read, idempotencyKey);
    assert(asked !== undefined, "a request was answered that nobody read");
    if (asked.kind === "one") return evaluatedAlone(asked.evaluation, first[0], exchange.requestId);
    const { items } = asked;
    const evaluated = first.map((result, index) => evaluatedOf(items[index], result));
    while (!isOver(asked, evaluated)) {
      const next = items.slice(evaluated.length, evaluated.length + 1);
      const [result] = await this.#decide(steps, () => next, "");
      evaluated.push(evaluatedOf(next[0], result));
    }
    return { evaluations: evaluated };
  }

  /** One batch. @returns a result an item. @throws CallFailed. */
  async #decide(
    steps: Steps,
    read: () => readonly Item[],
    idempotencyKey: string,
  ): Promise<readonly BatchCheckResult[]> {
    let items: readonly Item[] | undefined;
    const reply = await steps.call(this.#batch, {
      bytes: () => {
        items = read();
        return BatchCheckRequest.encode({ checks: items.map(checkOf), idempotencyKey }).finish();
      },
      itemMetadata: () => items?.map((item) => (item.kind === "fit" ? metadataOf(item) : {})),
    });
    const { results } = BatchCheckResponse.decode(reply);
    assert(results.length === items?.length, "a batch has as many answers as questions");
    return results;
  }

  /** What is looked at before the body is. @throws Refused; invalidField. */
  #begin({ request, response, metadata }: Arrived): Steps {
    const { nowMs, deadlines } = this.#options.rpc;
    requireJsonType(request.rawHeaders);
    const timeoutMs = timeoutMsOf(request.rawHeaders) ?? Infinity;
    const now = nowMs();
    // One deadline for all of them, however many follow one another.
    const { deadlineMs } = allowedMs(now + timeoutMs, now, deadlines);
    return new Steps(request, response, { metadata, deadlineMs: now + deadlineMs });
  }
}
