/**
 * From a request to the registered handler of its RPC and back: the very handlers that gRPC calls, so that identity,
 * permissions, pacing, limits, deadlines, metrics and errors have one implementation. What is refused here was never a
 * call.
 */
import type { FileRegistry } from "@bufbuild/protobuf";
import {
  status as Code,
  type MethodDefinition,
  type ServiceError,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { CheckRequest, CheckResponse, TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict } from "@sigil/proto/sigil/type/v1/type";
import { assert, invalidField, SigilFault } from "../../errors.ts";
import { intakeMessageMsMax } from "../../limits.ts";
import { requestIdOf } from "../../rpc/call/context.ts";
import { carriedMethod, type CarriedMethod } from "../../rpc/call/decode.ts";
import { occurrenceOf } from "../../rpc/call/ending.ts";
import type { RpcEnvironment } from "../../rpc/call/environment.ts";
import type { StreamHandler } from "../../rpc/call/server-stream.ts";
import type { UnaryHandler } from "../../rpc/call/unary.ts";
import type { Intake } from "../../rpc/bounds/intake.ts";
import { serviceErrorOf, statusOf } from "../../rpc/status.ts";
import { beginStream, jsonOf, jsonReply, problemAnswer, send, type Answer } from "./answer.ts";
import { readBody } from "./body.ts";
import {
  connectionOf,
  HttpCall,
  HttpLine,
  socketOf,
  type HttpCallOptions,
  type HttpRequest,
  type HttpResponse,
} from "./call.ts";
import { readForwarded } from "./forward.ts";
import { framingFor, type Framing } from "./framing.ts";
import {
  idempotencyKeyOf,
  lastEventIdOf,
  metadataOf,
  requireHost,
  requireJsonType,
  timeoutMsOf,
  valuesOf,
} from "./headers.ts";
import { CallFailed, problemOf, Refused, refusedProblem, typeOf, type Problem } from "./problem.ts";
import type { Protocol } from "./protocol.ts";
import { requestBytes, resumes } from "./request.ts";
import { findRoute, routesOf, type Found, type Route } from "./routes.ts";
import { HttpStreamCall } from "./stream.ts";
import { parseTemplate } from "./template.ts";

export type Services = readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[];

export type ServingOptions = {
  /** What is served besides the contracts' routes. */
  readonly protocols: readonly Protocol[];
  readonly rpc: Pick<RpcEnvironment, "newId" | "log" | "nowMs" | "underWay" | "observer">;
  readonly intake: Pick<Intake, "budget">;
  readonly services: Services;
  readonly contracts: FileRegistry;
  /** What GET answers the same to everybody, by path. */
  readonly pages: ReadonlyMap<string, Answer>;
  /** Names in `Host` that are served besides addresses; null where any is, as on a Unix socket. */
  readonly hosts: readonly string[] | null;
  /** Whether forwarded headers from this address are trusted. */
  readonly isProxy: (address: string) => boolean;
  /** Of a body, as of a message. */
  readonly bytesMax: number;
};

type Method = { readonly carried: CarriedMethod } & (
  | { readonly kind: "unary"; readonly handler: UnaryHandler<unknown, unknown> }
  | { readonly kind: "stream"; readonly handler: StreamHandler<unknown, unknown> }
);
export type Unary = Extract<Method, { kind: "unary" }>;
type Stream = Extract<Method, { kind: "stream" }>;

/**
 * What a route is beside its annotation: a guard answers a check with 204 and 403 alone, and of "forward" the headers
 * of a proxy are the request.
 */
type Served = Route & { readonly kind: "plain" | "guard" | "forward" };

type Exchange = {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  /** As records, logs and problems have it. */
  readonly requestId: string;
  /** As the answer's header has it. */
  readonly answeredId: string;
  readonly problem: (problem: Problem) => Answer;
  /** What an unexpected error is logged as coming from while no RPC is known. */
  readonly origin: string;
};

const checkPath = TrustServiceService.check.path;
const guardPath = "/trust/guard";
const forwardPath = "/trust/forward";
const decisionPaths = /^\/trust\/(check|guard|forward)(?![a-z_-])/;

export const methodsOf = (services: Services): ReadonlyMap<string, Method> =>
  new Map(
    services.flatMap(([service, handlers]) =>
      Object.entries(service).flatMap(([name, definition]): readonly (readonly [string, Method])[] => {
        const method: MethodDefinition<unknown, unknown> = definition;
        const handler = handlers[name];
        if (handler === undefined || method.requestStream) return [];
        const carried = carriedMethod(method);
        const served: Method = method.responseStream
          ? { kind: "stream", handler: handler as Stream["handler"], carried }
          : { kind: "unary", handler: handler as Unary["handler"], carried };
        return [[method.path, served]];
      }),
    ),
  );

/** Whoever guards by the status alone meets none that could be taken for something else. */
const guardProblem = (problem: Problem): Answer => {
  const members = { ...problem.members, status: 403 };
  return problemAnswer({ ...problem, status: 403, members }, true);
};

/** How errors are answered where a URL leads, also before it is known whether it leads anywhere. */
const problemFor = (url: string): Exchange["problem"] => {
  const decision = decisionPaths.exec(url)?.[1];
  if (decision !== undefined && decision !== "check") return guardProblem;
  return (problem) => problemAnswer(problem, decision !== undefined);
};

/** Splits path and query. @throws Refused for a request target in absolute form, as a proxy gets it. */
const splitTarget = (target: string): { readonly path: string; readonly query: string } => {
  if (!target.startsWith("/") || target.includes("#"))
    throw new Refused("MALFORMED_TARGET", "the request target must be a path");
  const at = target.indexOf("?");
  return at < 0 ? { path: target, query: "" } : { path: target.slice(0, at), query: target.slice(at + 1) };
};

/** HTTP/2 names it apart; a `host` beside it must not name another. */
const hostOf = (request: HttpRequest): string | undefined => {
  const hosts = new Set(valuesOf(request.rawHeaders, "host"));
  if ("authority" in request && request.authority !== "") hosts.add(request.authority);
  return hosts.size === 1 ? [...hosts][0] : undefined;
};

export const hasBody = ({ headers }: HttpRequest): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;

/** @throws invalidField. */
const forwardedBytes = (rawHeaders: readonly string[], query: string): Uint8Array => {
  if (query !== "") invalidField("query", "must be empty");
  return CheckRequest.encode(CheckRequest.fromPartial(readForwarded(rawHeaders))).finish();
};

/** An allow and nothing else; how the caller is told why not. */
const guardAnswer = (reply: CheckResponse, requestId: string): Answer => {
  const { allowed, verdict, reason, auditId } = reply;
  const headers = { "sigil-audit-id": auditId };
  if (allowed && verdict === Verdict.VERDICT_ALLOW) return { status: 204, headers, text: undefined };
  const members = {
    type: typeOf("DENIED"),
    title: "Denied",
    status: 403,
    detail: `the verdict is ${verdict === Verdict.VERDICT_REVIEW ? "review" : "deny"}: ${reason}`,
    code: "PERMISSION_DENIED",
    reason: "DENIED",
    requestId,
    facts: { audit_id: auditId, decision_reason: reason },
  };
  return problemAnswer({ status: 403, headers, members }, true);
};

export class Serving {
  readonly #options: ServingOptions;
  readonly #routes: readonly Served[];
  readonly #methods: ReadonlyMap<string, Method>;

  constructor(options: ServingOptions) {
    this.#options = options;
    this.#methods = methodsOf(options.services);
    const routes = routesOf(options.contracts).map((route): Served => ({ ...route, kind: "plain" }));
    for (const { rpcPath } of routes)
      assert(this.#methods.has(rpcPath), `${rpcPath} has a route and no handler`);
    const check = routes.find(({ rpcPath }) => rpcPath === checkPath);
    assert(check !== undefined, "checks have no route");
    this.#routes = [
      ...routes,
      { ...check, template: parseTemplate(guardPath), kind: "guard" },
      { ...check, template: parseTemplate(forwardPath), kind: "forward", method: "GET", body: "" },
    ];
  }

  /** Never rejects. */
  async serve(request: HttpRequest, response: HttpResponse): Promise<void> {
    const metadata = metadataOf(request.rawHeaders);
    const requestId = requestIdOf(metadata, this.#options.rpc.newId);
    // The call, its record and its log lines have the same.
    metadata.set("x-request-id", requestId);
    const url = request.url ?? "";
    let exchange: Exchange = {
      request,
      response,
      requestId,
      answeredId: requestId,
      problem: problemFor(url),
      origin: "http",
    };
    // A peer that resets while it is answered.
    response.on("error", () => {});
    try {
      const { hosts } = this.#options;
      if (hosts !== null) requireHost(hostOf(request), hosts);
      const { path, query } = splitTarget(url);
      const protocol = this.#options.protocols.find(({ takes }) => takes(path));
      if (protocol !== undefined) {
        const { problem } = protocol;
        const answeredId = protocol.answeredId(request, requestId);
        exchange = { ...exchange, problem, answeredId, origin: path };
        const body = (): Promise<string> => this.#read(exchange);
        const arrived = { request, response, path, metadata, requestId, body };
        return this.#send(exchange, await protocol.answer(arrived));
      }
      const page = this.#options.pages.get(path);
      if (page !== undefined && request.method === "GET") return this.#send(exchange, page);
      if (page !== undefined) throw refusalOf({ kind: "otherMethod", methods: ["GET"] });
      const found = findRoute(this.#routes, request.method ?? "", path);
      if (found.kind !== "found") throw refusalOf(found);
      await this.#call(exchange, metadata, found, query);
    } catch (error) {
      this.#refuse(exchange, error);
    }
  }

  async #call(
    exchange: Exchange,
    metadata: ReturnType<typeof metadataOf>,
    { route, captures }: Extract<Found<Served>, { kind: "found" }>,
    query: string,
  ): Promise<void> {
    const { request, response } = exchange;
    const { rpc, contracts } = this.#options;
    const { rawHeaders } = request;
    const method = this.#methods.get(route.rpcPath);
    assert(method !== undefined, `${route.rpcPath} has no handler`);
    const isPost = route.method === "POST";
    if (isPost) requireJsonType(rawHeaders);
    else if (hasBody(request)) throw new Refused("NOT_JSON", "GET takes no body", { connection: "close" });
    if (route.kind === "forward") this.#requireProxy(request);
    const timeoutMs = timeoutMsOf(rawHeaders);
    const idempotencyKey = isPost ? idempotencyKeyOf(rawHeaders) : undefined;
    const lastEventId = method.kind === "stream" ? lastEventIdOf(rawHeaders) : undefined;
    const framing = framingFor(valuesOf(rawHeaders, "accept"));
    if (method.kind === "stream" && framing === undefined)
      throw new Refused("NOT_ACCEPTABLE", "accept must allow application/x-ndjson or text/event-stream");
    const body = isPost ? await this.#read(exchange) : "";
    const carried = { route, captures, query, body, idempotencyKey, lastEventId };
    const options: HttpCallOptions = {
      line: new HttpLine(request, response),
      metadata,
      deadlineMs: timeoutMs === undefined ? Infinity : rpc.nowMs() + timeoutMs,
      message: method.carried.request(() =>
        route.kind === "forward" ? forwardedBytes(rawHeaders, query) : requestBytes(carried, contracts),
      ),
    };
    if (method.kind === "unary") this.#answer(exchange, route, method, options);
    else if (framing !== undefined) this.#stream(exchange, route, method, { ...options, framing });
  }

  #answer(exchange: Exchange, route: Served, method: Unary, options: HttpCallOptions): void {
    const { request, response, requestId } = exchange;
    const { line } = options;
    method.handler(new HttpCall<unknown>(request, response, options), (error, reply) => {
      if (error === null) {
        const { code, answer } = this.#replyAnswer(exchange, route, method, reply);
        line.sentCode = code;
        this.#send(exchange, answer);
      } else {
        const failed = error as ServiceError;
        line.sentCode = failed.code;
        this.#send(exchange, exchange.problem(problemOf(failed, requestId)));
      }
    });
  }

  #stream(
    exchange: Exchange,
    route: Served,
    { handler, carried }: Stream,
    options: HttpCallOptions & { readonly framing: Framing },
  ): void {
    const { request, response, requestId, answeredId } = exchange;
    const hasIds = resumes(route);
    const call = new HttpStreamCall<unknown>(request, response, {
      ...options,
      begin: () =>
        beginStream(request, response, options.framing.contentType, {
          requestId: answeredId,
          isLast: this.#isLast,
        }),
      encode: (message) => {
        const json = jsonOf(route.rpc.output, carried.responseBytes(message), this.#options.contracts);
        const { nextPosition: next } = json;
        return { json: JSON.stringify(json), id: hasIds && typeof next === "string" ? next : undefined };
      },
      problem: (error) => JSON.stringify(problemOf(error, requestId).members),
      refuse: (error) => this.#send(exchange, exchange.problem(problemOf(error, requestId))),
      broken: (cause) => this.#errorOf(cause, route.rpcPath, requestId),
    });
    handler(call);
  }

  /** A reply that cannot be written is an error, as it is over gRPC. */
  #replyAnswer(
    exchange: Exchange,
    route: Served,
    { carried }: Unary,
    reply: unknown,
  ): { readonly code: Code; readonly answer: Answer } {
    try {
      const bytes = carried.responseBytes(reply);
      const answer =
        route.kind !== "plain"
          ? guardAnswer(CheckResponse.decode(bytes), exchange.requestId)
          : jsonReply(route.rpc.output, bytes, this.#options.contracts);
      return { code: Code.OK, answer };
    } catch (error) {
      return { code: Code.INTERNAL, answer: this.#errorAnswer(exchange, error, route.rpcPath) };
    }
  }

  /** @throws Refused unless the caller's address is a trusted proxy. */
  #requireProxy(request: HttpRequest): void {
    const address = socketOf(request)?.remoteAddress;
    // Who may open a Unix socket is the file system's to say.
    if (address === undefined || this.#options.isProxy(address)) return;
    throw new Refused("PROXY_NOT_LISTED", "forwarded headers are believed from http_proxies alone");
  }

  /** Its room is given back when it is answered. */
  async #read({ request, response }: Exchange): Promise<string> {
    const { intake, bytesMax } = this.#options;
    const { text, release } = await readBody(request, {
      bytesMax,
      msMax: intakeMessageMsMax,
      intake,
      connection: connectionOf(request),
    });
    response.once("close", release);
    return text;
  }

  #refuse(exchange: Exchange, error: unknown): void {
    const { response } = exchange;
    if (response.writableEnded || response.destroyed) return;
    if (error instanceof SigilFault && error.error.kind === "cancelled") response.destroy();
    else this.#send(exchange, this.#errorAnswer(exchange, error, exchange.origin));
  }

  #errorAnswer(exchange: Exchange, error: unknown, path: string): Answer {
    const { requestId, problem } = exchange;
    if (error instanceof Refused) {
      this.#options.rpc.observer.onRefused(`HTTP_${error.reason}`);
      return problem(refusedProblem(error, requestId));
    }
    const failed = error instanceof CallFailed ? error.error : this.#errorOf(error, path, requestId);
    return problem(problemOf(failed, requestId));
  }

  #errorOf(thrown: unknown, path: string, requestId: string): ServiceError {
    return serviceErrorOf(statusOf(thrown, occurrenceOf(this.#options.rpc, path, requestId)), requestId);
  }

  /** Whether its connection ends with an answer. */
  get #isLast(): boolean {
    return this.#options.rpc.underWay.draining;
  }

  #send({ request, response, answeredId: requestId }: Exchange, answer: Answer): void {
    send(request, response, answer, { requestId, isLast: this.#isLast });
  }
}

const refusalOf = (found: Exclude<Found<Route>, { kind: "found" }>): Refused => {
  if (found.kind === "none") return new Refused("NO_SUCH_ROUTE", "the server has no such route");
  const allow = found.methods.join(", ");
  return new Refused("OTHER_METHOD", `the route takes ${allow}`, { allow });
};
