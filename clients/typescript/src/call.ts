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
import type { TokenSigner } from "./token.ts";

export type CallOptions = {
  /** Cancels the call. */
  readonly signal?: AbortSignal | undefined;
  /** Sent with the call, for example `traceparent` or `x-request-id`. */
  readonly metadata?: Metadata | Readonly<Record<string, string>> | undefined;
  /** The longest the call may take; the connection's default unless told. */
  readonly deadlineMs?: number | undefined;
  /** Given the trailers of a call that succeeded; those of one that failed are in its error. */
  readonly onTrailers?: ((trailers: Metadata) => void) | undefined;
};

/** What every call of a connection shares. */
export type CallContext = {
  readonly signer: TokenSigner | undefined;
  /** Whether a token may be sent on this connection. */
  readonly mayAuthorize: boolean;
  readonly deadlineMs: number;
  /** The longest reply that the channel takes, in bytes; undefined when it takes any. */
  readonly replyBytesMax: number | undefined;
};

export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

const authorizationKey = "authorization";
/** A server cuts its pages to it, and refuses a batch whose answer would be longer before it decides. */
const replyBytesKey = "sigil-reply-bytes-max";

export const tokenRefusal =
  'a token may not be sent without TLS to another machine; use TLS, or say insecureTokens: "send"';

const callMetadata = async (context: CallContext, given: CallOptions["metadata"]): Promise<Metadata> => {
  const metadata = given instanceof Metadata ? given.clone() : new Metadata();
  if (!(given instanceof Metadata)) {
    for (const [key, value] of Object.entries(given ?? {})) metadata.set(key, value);
  }
  if (context.replyBytesMax !== undefined && metadata.get(replyBytesKey).length === 0) {
    metadata.set(replyBytesKey, String(context.replyBytesMax));
  }
  if (context.signer !== undefined && metadata.get(authorizationKey).length === 0) {
    metadata.set(authorizationKey, `Bearer ${await context.signer.token()}`);
  }
  if (!context.mayAuthorize && metadata.get(authorizationKey).length > 0) throw new TypeError(tokenRefusal);
  return metadata;
};

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

const cancelled = (signal: AbortSignal | undefined): SigilError =>
  new SigilError(Code.CANCELLED, "cancelled by the caller", {}, { cause: signal?.reason });

/** @throws SigilError */
export const callUnary = async <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  context: CallContext,
  { signal, metadata: given, deadlineMs, onTrailers }: CallOptions = {},
): Promise<Response> => {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, given);
  const { promise, resolve, reject } = deferred<Response>();
  const options = { deadline: Date.now() + (deadlineMs ?? context.deadlineMs) };
  const call = method(request, metadata, options, (error, response) => {
    if (error === null) resolve(response);
    else reject(isAborted(signal) ? cancelled(signal) : SigilError.from(error));
  });
  if (onTrailers !== undefined) {
    call.on("status", ({ code, metadata: trailers }) => {
      if (code === Code.OK) onTrailers(trailers);
    });
  }
  const abort = (): void => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  // The token may have taken its time.
  if (isAborted(signal)) abort();
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
};

type DuplexMethod<Request, Response> = (
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
) => ClientDuplexStream<Request, Response>;

/** Resolves when more may be written, or when the call is over and nothing will. */
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
 * Sends requests as they come and yields answers as they come. Requests are taken only as fast as the server reads,
 * answers only as fast as they are asked for; about 16 of each wait in between. Leaving the loop cancels the call. Has
 * no deadline unless one is given.
 * @throws SigilError; whatever `requests` throws, after cancelling.
 */
export async function* callDuplex<Request, Response>(
  method: DuplexMethod<Request, Response>,
  requests: AsyncIterable<Request> | Iterable<Request>,
  context: CallContext,
  { signal, metadata: given, deadlineMs }: CallOptions = {},
): AsyncGenerator<Response, void, undefined> {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, given);
  const call = method(metadata, deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs });
  // A status that comes after the loop was left has nobody else to hear it.
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
    // Not awaited: a source that is waiting for its own next value answers later, or never.
    void Promise.resolve(source.return?.()).catch(() => {});
  }
}

export type ServerStreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
) => ClientReadableStream<Response>;

/**
 * Yields answers as they come, only as fast as they are asked for; about 16 wait in between. Leaving the loop cancels
 * the call. Has no deadline unless one is given.
 * @throws SigilError
 */
export async function* callServerStream<Request, Response>(
  method: ServerStreamMethod<Request, Response>,
  request: Request,
  context: CallContext,
  { signal, metadata: given, deadlineMs, onTrailers }: CallOptions = {},
): AsyncGenerator<Response, void, undefined> {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, given);
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const call = method(request, metadata, options);
  // A status that comes after the loop was left has nobody else to hear it.
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
 * Sends requests as they come, only as fast as the server reads, and gives its one answer; the server may answer before
 * the last of them.
 * @throws SigilError; whatever `requests` throws, after cancelling.
 */
export const callClientStream = async <Request, Response>(
  method: ClientStreamMethod<Request, Response>,
  requests: AsyncIterable<Request> | Iterable<Request>,
  context: CallContext,
  { signal, metadata: given, deadlineMs }: CallOptions = {},
): Promise<Response> => {
  if (isAborted(signal)) throw cancelled(signal);
  const metadata = await callMetadata(context, given);
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
