/** How a method becomes a promise or a stream: partial requests, checks, and whether it may be repeated. */
import type { DeepPartial } from "@sigil/proto/sigil/trust/v1/trust";
import {
  callServerStream,
  type CallContext,
  type CallOptions,
  type ServerStreamMethod,
  type UnaryMethod,
} from "../call.ts";
import { callRepeatedly, type Repeating } from "../retry/repeat.ts";

/** Every field of a request is optional and has a default. */
export type Partially<Message> = DeepPartial<Message>;

/** A stream of partial requests. */
export type Streamed<Message> = AsyncIterable<Partially<Message>> | Iterable<Partially<Message>>;

/** A unary call. @throws SigilError */
export type Unary<Request, Response> = (
  request: Partially<Request>,
  options?: CallOptions,
) => Promise<Response>;

/**
 * A server stream. Leaving the loop cancels the call; no deadline unless one is given.
 * @throws SigilError
 */
export type ServerStream<Request, Response> = (
  request: Partially<Request>,
  options?: CallOptions,
) => AsyncGenerator<Response, void, undefined>;

/**
 * Checks of a method's request before it is sent, and of its reply before it is returned, which may throw; and whether
 * it may be repeated.
 */
type Checks<Request, Response> = {
  /** Default "never". */
  readonly repeating?: Repeating;
  readonly before?: (request: Partially<Request>) => void;
  readonly after?: (request: Request, response: Response) => void;
};

/** Builds a unary method; every request passes through here. */
export const unary =
  <Request, Response>(
    context: CallContext,
    messages: { fromPartial(request: Partially<Request>): Request },
    method: UnaryMethod<Request, Response>,
    { before, after, repeating = "never" }: Checks<Request, Response> = {},
  ): Unary<Request, Response> =>
  async (partial, options) => {
    before?.(partial);
    const request = messages.fromPartial(partial);
    const response = await callRepeatedly(method, request, context, options, repeating);
    after?.(request, response);
    return response;
  };

/** As `unary`, of a method that changes nothing, or what it changes stays as the first call left it. */
export const reading = <Request, Response>(
  context: CallContext,
  messages: { fromPartial(request: Partially<Request>): Request },
  method: UnaryMethod<Request, Response>,
  checks: Checks<Request, Response> = {},
): Unary<Request, Response> => unary(context, messages, method, { ...checks, repeating: "reads" });

/** As `unary`, of a method that answers an idempotency key once. */
export const keyed = <Request extends { idempotencyKey: string }, Response>(
  context: CallContext,
  messages: { fromPartial(request: Partially<Request>): Request },
  method: UnaryMethod<Request, Response>,
  checks: Checks<Request, Response> = {},
): Unary<Request, Response> => unary(context, messages, method, { ...checks, repeating: "keyed" });

export const serverStream =
  <Request, Response>(
    context: CallContext,
    messages: { fromPartial(request: Partially<Request>): Request },
    method: ServerStreamMethod<Request, Response>,
  ): ServerStream<Request, Response> =>
  (request, options) =>
    callServerStream(method, messages.fromPartial(request), context, options);

export async function* completed<Request>(
  messages: { fromPartial(request: Partially<Request>): Request },
  requests: Streamed<Request>,
): AsyncGenerator<Request, void, undefined> {
  for await (const request of requests) yield messages.fromPartial(request);
}
