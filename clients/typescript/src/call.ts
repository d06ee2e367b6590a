/** One call: metadata with the token, deadline, cancellation, and a promise in place of a callback. */
import { deferred } from "./deferred.ts";
import {
  Metadata,
  status as Code,
  type CallOptions as GrpcCallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Writable } from "node:stream";
import { SigilError } from "./error.ts";
import type { RetryBudget, RetryOptions } from "./retry/plan.ts";
import type { TokenSigner } from "./token.ts";

export type CallOptions = {
  /** Cancels the call. */
  readonly signal?: AbortSignal | undefined;
  /** Sent with the call, for example `traceparent` or `x-request-id`. */
  readonly metadata?: Metadata | Readonly<Record<string, string>> | undefined;
  /** Deadline of the call in milliseconds; default: the connection's. */
  readonly deadlineMs?: number | undefined;
  /** Called with the trailers of a successful call; those of a failed one are in its error. */
  readonly onTrailers?: ((trailers: Metadata) => void) | undefined;
};

/** Context shared by all calls of a connection. */
export type CallContext = {
  readonly signer: TokenSigner | undefined;
  /** Whether a token may be sent on this connection. */
  readonly mayAuthorize: boolean;
  readonly deadlineMs: number;
  readonly headers: CallHeaders;
  /** When calls that may be repeated are. */
  readonly retry: Required<RetryOptions> | "none";
  readonly budget: RetryBudget;
  /** Aborts when the connection is closed: nothing waits for another call any more. */
  readonly closed: AbortSignal;
};

export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

const authorizationKey = "authorization";
/** The server limits pages to it, and refuses a batch whose reply could be larger before deciding. */
const replyBytesKey = "sigil-reply-bytes-max";

export const tokenRefusal =
  'a token may not be sent without TLS to another machine; use TLS, or say insecureTokens: "send"';

/** Whether a call is made as somebody else than its connection's caller. */
export const hasOwnToken = ({ metadata }: CallOptions): boolean =>
  metadata instanceof Metadata
    ? metadata.get(authorizationKey).length > 0
    : Object.keys(metadata ?? {}).some((name) => name.toLowerCase() === authorizationKey);

/** grpc-js's own error names the value, which may be a secret. */
const setMetadata = (metadata: Metadata, key: string, value: string): void => {
  try {
    metadata.set(key, value);
  } catch {
    throw new TypeError(`metadata "${key}" cannot be sent: its name or its value is no header's`);
  }
};

const noToken = (rule: string, options?: ErrorOptions): SigilError =>
  new SigilError(Code.UNAUTHENTICATED, rule, { reason: "TOKEN_SOURCE_FAILED" }, options);

/** What a header may hold. The token itself stands in no error. */
const tokenText = /^[\x21-\x7e]+$/;

/** A mounted file ends in a line end, which is none of the token. */
const withoutLineEnd = (text: string): string => (text.endsWith("\n") ? text.replace(/\r?\n$/, "") : text);

const requireToken = (given: unknown): string => {
  const token = typeof given === "string" ? withoutLineEnd(given) : "";
  return tokenText.test(token) ? token : fail(noToken("the source of tokens gave no token"));
};

const fail = (error: SigilError): never => {
  throw error;
};

/** Gives up a promise at a deadline or by a signal. @throws SigilError DEADLINE_EXCEEDED with the rule, CANCELLED. */
export const within = async <Result>(
  pending: Promise<Result>,
  rule: string,
  deadlineMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Result> => {
  // Whoever gave up does not hear how it ended.
  pending.catch(() => {});
  if (isAborted(signal)) throw cancelled(signal);
  const { promise: stopped, reject } = deferred<never>();
  const abort = (): void => reject(cancelled(signal));
  signal?.addEventListener("abort", abort, { once: true });
  const late = (): void => reject(new SigilError(Code.DEADLINE_EXCEEDED, rule));
  const timer = deadlineMs === undefined ? undefined : setTimeout(late, deadlineMs);
  try {
    return await Promise.race([pending, stopped]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
};

/** @throws SigilError: UNAUTHENTICATED if the source fails, CANCELLED by the signal, DEADLINE_EXCEEDED if late. */
const waitForToken = async (
  pending: PromiseLike<unknown>,
  deadlineMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<string> => {
  const late = "the source of tokens did not answer in time";
  try {
    return requireToken(await within(Promise.resolve(pending), late, deadlineMs, signal));
  } catch (error) {
    throw tokenFailure(error);
  }
};

const tokenFailure = (error: unknown): SigilError =>
  error instanceof SigilError ? error : noToken("the source of tokens failed", { cause: error });

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

/** Most sources have the token at hand: then nothing is waited for, and the call begins in its caller's stack. */
const takeToken = (
  signer: TokenSigner,
  deadlineMs: number | undefined,
  signal: AbortSignal | undefined,
): string | Promise<string> => {
  let token: unknown;
  try {
    token = signer.token();
    if (!isPromise(token)) return requireToken(token);
  } catch (error) {
    throw tokenFailure(error);
  }
  return waitForToken(token, deadlineMs, signal);
};

/**
 * What a connection's calls are sent with. grpc-js looks at every character of what is set, so the last token's header
 * is kept; each call has a copy, since whoever traces it adds to what is sent.
 */
export class CallHeaders {
  readonly #plain = new Metadata();
  #authorized: { readonly token: string; readonly metadata: Metadata } | undefined;

  constructor(replyBytesMax: number | undefined) {
    if (replyBytesMax !== undefined) this.#plain.set(replyBytesKey, String(replyBytesMax));
  }

  /** @param token undefined for a call that sends none. */
  with(token: string | undefined): Metadata {
    if (token === undefined) return this.#plain.clone();
    if (this.#authorized?.token !== token) {
      const metadata = this.#plain.clone();
      metadata.set(authorizationKey, `Bearer ${token}`);
      this.#authorized = { token, metadata };
    }
    return this.#authorized.metadata.clone();
  }
}

/** With what the caller of this one call sends, which stands before the connection's own. */
const withGiven = (headers: Metadata, given: NonNullable<CallOptions["metadata"]>): Metadata => {
  const metadata = given instanceof Metadata ? given.clone() : new Metadata();
  if (!(given instanceof Metadata)) {
    for (const [key, value] of Object.entries(given)) setMetadata(metadata, key, value);
  }
  for (const key of [replyBytesKey, authorizationKey]) {
    const [own] = headers.get(key);
    if (own !== undefined && metadata.get(key).length === 0) metadata.set(key, own);
  }
  return metadata;
};

const callMetadata = (
  context: CallContext,
  { metadata: given, deadlineMs, signal }: CallOptions,
): Metadata | Promise<Metadata> => {
  const { signer, headers, mayAuthorize } = context;
  const isOther = given !== undefined && hasOwnToken({ metadata: given });
  if (isOther && !mayAuthorize) throw new TypeError(tokenRefusal);
  const finish = (token: string | undefined): Metadata =>
    given === undefined ? headers.with(token) : withGiven(headers.with(token), given);
  if (signer === undefined || isOther) return finish(undefined);
  const token = takeToken(signer, deadlineMs, signal);
  return typeof token === "string" ? finish(token) : token.then(finish);
};

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

export const cancelled = (signal: AbortSignal | undefined): SigilError =>
  new SigilError(Code.CANCELLED, "cancelled by the caller", {}, { cause: signal?.reason });

const startUnary = <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  metadata: Metadata,
  options: { readonly deadline: number },
  { signal, onTrailers }: CallOptions,
): Promise<Response> =>
  new Promise((resolve, reject) => {
    // The signal may have aborted while the token was made.
    if (isAborted(signal)) throw cancelled(signal);
    const abort = (): void => call.cancel();
    const call = method(request, metadata, options, (error, response) => {
      signal?.removeEventListener("abort", abort);
      if (error === null) resolve(response);
      else reject(isAborted(signal) ? cancelled(signal) : SigilError.from(error));
    });
    signal?.addEventListener("abort", abort, { once: true });
    if (onTrailers !== undefined) {
      call.on("status", ({ code, metadata: trailers }) => {
        if (code === Code.OK) onTrailers(trailers);
      });
    }
  });

/** Sends before it returns, if the token is at hand: an error then has its caller's stack. @throws SigilError */
export const callUnary = async <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  context: CallContext,
  given: CallOptions = {},
): Promise<Response> => {
  const { signal, deadlineMs = context.deadlineMs } = given;
  if (isAborted(signal)) throw cancelled(signal);
  const options = { deadline: Date.now() + deadlineMs };
  const made = callMetadata(context, given.deadlineMs === undefined ? { ...given, deadlineMs } : given);
  const metadata = made instanceof Promise ? await made : made;
  return startUnary(method, request, metadata, options, given);
};

type DuplexMethod<Request, Response> = (
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
) => ClientDuplexStream<Request, Response>;

/** Resolves when more may be written, or when the call is over. */
const writable = (call: Writable): Promise<void> =>
  new Promise((resolve) => {
    const events = ["drain", "close", "error", "end"] as const;
    const done = (): void => {
      for (const event of events) call.off(event, done);
      resolve();
    };
    for (const event of events) call.on(event, done);
  });

const send = async <Request>(
  call: Writable & Pick<ClientWritableStream<Request>, "destroyed">,
  requests: AsyncIterator<Request> | Iterator<Request>,
  isOver: () => boolean,
): Promise<void> => {
  for (;;) {
    const next = await requests.next();
    if (isOver() || call.destroyed) return;
    if (next.done === true) {
      call.end();
      return;
    }
    if (!call.write(next.value)) await writable(call);
  }
};

/**
 * Bidirectional stream with backpressure: consumes requests only as fast as the server reads, and answers only as fast
 * as the caller iterates; buffers about 16 of each. Leaving the loop cancels the call. No deadline unless one is given.
 * @throws SigilError; whatever `requests` throws, after cancelling.
 */
export async function* callDuplex<Request, Response>(
  method: DuplexMethod<Request, Response>,
  requests: AsyncIterable<Request> | Iterable<Request>,
  context: CallContext,
  { signal, metadata: given, deadlineMs }: CallOptions = {},
): AsyncGenerator<Response, void, undefined> {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, { metadata: given, deadlineMs, signal });
  const call = method(metadata, deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs });
  // Handles a status that arrives after the loop was left.
  call.on("error", () => {});
  const source =
    Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
  let isOver = false;
  let sourceFailure: { readonly error: unknown } | undefined;
  void send(call, source, () => isOver).catch((error: unknown) => {
    sourceFailure = { error };
    call.cancel();
  });
  const abort = (): void => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  if (isAborted(signal)) abort();
  try {
    for await (const response of call) yield response as Response;
  } catch (error) {
    if (sourceFailure !== undefined) throw sourceFailure.error;
    throw isAborted(signal) ? cancelled(signal) : SigilError.from(error);
  } finally {
    isOver = true;
    signal?.removeEventListener("abort", abort);
    call.cancel();
    // Not awaited: a source that is waiting for its next value may settle later, or never.
    void Promise.resolve(source.return?.()).catch(() => {});
  }
}

export type ServerStreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
) => ClientReadableStream<Response>;

/**
 * Server stream with backpressure: buffers about 16 answers. Leaving the loop cancels the call. No deadline unless one
 * is given.
 * @throws SigilError
 */
export async function* callServerStream<Request, Response>(
  method: ServerStreamMethod<Request, Response>,
  request: Request,
  context: CallContext,
  { signal, metadata: given, deadlineMs, onTrailers }: CallOptions = {},
): AsyncGenerator<Response, void, undefined> {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, { metadata: given, deadlineMs, signal });
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const call = method(request, metadata, options);
  // Handles a status that arrives after the loop was left.
  call.on("error", () => {});
  if (onTrailers !== undefined) {
    call.on("status", ({ code, metadata: trailers }) => {
      if (code === Code.OK) onTrailers(trailers);
    });
  }
  const abort = (): void => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  if (isAborted(signal)) abort();
  try {
    for await (const response of call) yield response as Response;
  } catch (error) {
    throw isAborted(signal) ? cancelled(signal) : SigilError.from(error);
  } finally {
    signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}

type ClientStreamMethod<Request, Response> = (
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientWritableStream<Request>;

/**
 * Client stream with backpressure; resolves with the answer, which may come before the last request is sent.
 * @throws SigilError; whatever `requests` throws, after cancelling.
 */
export const callClientStream = async <Request, Response>(
  method: ClientStreamMethod<Request, Response>,
  requests: AsyncIterable<Request> | Iterable<Request>,
  context: CallContext,
  { signal, metadata: given, deadlineMs }: CallOptions = {},
): Promise<Response> => {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, { metadata: given, deadlineMs, signal });
  const { promise, resolve, reject } = deferred<Response>();
  const options = { deadline: Date.now() + (deadlineMs ?? context.deadlineMs) };
  let isOver = false;
  const call = method(metadata, options, (error, response) => {
    isOver = true;
    if (error === null) resolve(response);
    else reject(isAborted(signal) ? cancelled(signal) : SigilError.from(error));
  });
  const source =
    Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
  void send(call, source, () => isOver).catch((error: unknown) => {
    reject(error instanceof Error ? error : new Error(String(error)));
    call.cancel();
  });
  const abort = (): void => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  if (isAborted(signal)) abort();
  try {
    return await promise;
  } finally {
    isOver = true;
    signal?.removeEventListener("abort", abort);
    void Promise.resolve(source.return?.()).catch(() => {});
  }
};
