/**
 * The only file that depends on grpc-js internals: calls hold the HTTP/2 stream and decode messages in methods of these
 * names. Asserted at start, so that an incompatible version is refused instead of serving without limits. Source:
 * @grpc/grpc-js 1.14, build/src/server-interceptors.js.
 */
import type { ServerHttp2Stream } from "node:http2";
import { createRequire } from "node:module";
import type { Metadata, ServerInterceptor } from "@grpc/grpc-js";
import { assert } from "../../errors.ts";

/** `decoder.readState` while a message's length is known but its end has not arrived. */
export const readingMessage = 2;

/** grpc-js's own call object, as the first interceptor receives it. */
export type BaseCall = {
  readonly stream: ServerHttp2Stream;
  readonly decoder: { readonly readState: number; readonly readMessageSize: number };
  readonly incomingEncoding: unknown;
  readonly deadline: number;
  readonly maxReceiveMessageSize: number;
  readonly isReadPending: boolean;
  readonly readQueue: readonly unknown[];
  handleDataFrame: (data: Buffer) => void;
  /** @param message with its five-byte prefix. */
  decompressMessage: (message: Buffer, encoding: string) => Buffer | Promise<Buffer>;
  sendStatus: (status: CallStatus) => void;
};

/** Also an Error, so that it can be thrown to grpc-js, which sends it unchanged. */
export type CallStatus = Error & {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
};

const methods = ["handleDataFrame", "decompressMessage", "decompressAndMaybePush", "sendStatus"] as const;

type Made = { readonly prototype: Readonly<Record<string, unknown>> };
type Insides = { readonly BaseServerInterceptingCall?: Made };

/** Checks the internals that the limits depend on. @throws Error if they differ. */
export const assertInsides = ({ BaseServerInterceptingCall: made }: Insides): void => {
  assert(made !== undefined, "grpc-js makes its calls elsewhere");
  for (const name of methods) {
    assert(
      typeof made.prototype[name] === "function",
      `grpc-js has no ${name}: requests would not be bounded`,
    );
  }
  const { decompressAndMaybePush, handleDataFrame } = made.prototype;
  assert(
    String(decompressAndMaybePush).includes("this.decompressMessage(") &&
      String(handleDataFrame).includes("this.decompressAndMaybePush(") &&
      String(handleDataFrame).includes("this.decoder.write("),
    "grpc-js reads its messages another way: requests would not be bounded",
  );
};

/** @throws as `assertInsides`. */
export const assertInstalledInsides = (): void => {
  const load = createRequire(import.meta.url);
  assertInsides(load("@grpc/grpc-js/build/src/server-interceptors") as Insides);
};

const wrongTimeout = "Invalid grpc-timeout";

/** grpc-js echoes an invalid grpc-timeout in its error, up to a whole header; replaces that text. */
export const muteTimeouts = (call: BaseCall): void => {
  // A deadline means that the header was valid.
  if (call.deadline !== Infinity) return;
  const { sendStatus } = call;
  call.sendStatus = (status) => {
    const isEcho = status.details.startsWith(wrongTimeout);
    sendStatus.call(call, isEcho ? { ...status, details: "grpc-timeout must be digits and a unit" } : status);
  };
};

const respondName = "_respondWithError";
type Refusing = { [respondName]?: (error: object, ...rest: readonly unknown[]) => void };

/** As `muteTimeouts`, for unknown methods. Call once per server. */
export const muteUnknownMethods = (server: object): void => {
  const refusing: Refusing = server;
  const respond = refusing[respondName];
  assert(respond !== undefined, "grpc-js refuses unknown methods elsewhere");
  refusing[respondName] = (error, ...rest) =>
    respond.call(server, { ...error, details: "the server has no such method" }, ...rest);
};

/** An interceptor that passes each call to `seen` unchanged. */
export const onEachCall =
  (see: (call: BaseCall) => void): ServerInterceptor =>
  (_, call) => {
    // The start has asserted more of the object than its type declares.
    const inside: object = call;
    see(inside as BaseCall);
    return call as ReturnType<ServerInterceptor>;
  };

/** The HTTP/2 stream of a handler's call. */
export const streamOf = (call: object): ServerHttp2Stream => {
  const { stream } = (call as { readonly call?: Partial<BaseCall> }).call ?? {};
  assert(stream !== undefined, "grpc-js keeps the stream of a call elsewhere");
  return stream;
};
