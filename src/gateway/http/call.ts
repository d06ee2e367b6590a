/**
 * A call of a registered handler that came over HTTP: what grpc-js's calls are to the wrappers, over a request and its
 * response. The wrappers do the rest, as for any call.
 */
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { Writable } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Metadata } from "@grpc/grpc-js";
import type { GrpcCall } from "../../rpc/call/call.ts";
import { LinedCall, type Line } from "../../rpc/bounds/line.ts";

export type HttpRequest = IncomingMessage | Http2ServerRequest;
/** What both versions' responses are. */
export type HttpResponse = Writable & {
  readonly writeHead: (status: number, headers: OutgoingHttpHeaders) => unknown;
};

/** What its calls come on, as connections are counted: a session of HTTP/2, or a socket. */
export const connectionOf = (request: HttpRequest): object =>
  "stream" in request ? (request.stream.session ?? request.stream) : request.socket;

export const socketOf = (request: HttpRequest): IncomingMessage["socket"] | undefined =>
  "stream" in request ? request.stream.session?.socket : request.socket;

/** The line of one response. */
export class HttpLine implements Line {
  readonly watchesDeadline = false;
  readonly connection: object;
  sentCode: number | undefined;
  readonly #response: HttpResponse;

  constructor(request: HttpRequest, response: HttpResponse) {
    this.connection = connectionOf(request);
    this.#response = response;
  }

  get isAnswered(): boolean {
    return this.#response.writableEnded || this.#response.destroyed;
  }

  breakOff(): void {
    this.#response.destroy();
  }
}

export type HttpCallOptions = {
  readonly line: HttpLine;
  readonly metadata: Metadata;
  /** When the caller's time is up, in milliseconds since 1970; Infinity when it does not say. */
  readonly deadlineMs: number;
  /** The encoded request, as `carriedMethod` makes it. */
  readonly message: unknown;
  readonly itemMetadata?: GrpcCall["itemMetadata"];
};

type AuthContext = ReturnType<GrpcCall["getAuthContext"]>;

/** @typeParam Message only names what handlers expect: they decode it. */
export class HttpCall<Message> extends LinedCall implements GrpcCall {
  readonly metadata: Metadata;
  readonly request: Message;
  readonly itemMetadata: NonNullable<GrpcCall["itemMetadata"]>;
  readonly #deadlineMs: number;
  readonly #socket: IncomingMessage["socket"] | undefined;
  readonly #response: HttpResponse;

  constructor(request: HttpRequest, response: HttpResponse, options: HttpCallOptions) {
    super(options.line);
    this.metadata = options.metadata;
    this.request = options.message as Message;
    this.itemMetadata = options.itemMetadata ?? (() => undefined);
    this.#deadlineMs = options.deadlineMs;
    this.#socket = socketOf(request);
    this.#response = response;
  }

  getPeer(): string {
    const { remoteAddress, remotePort } = this.#socket ?? {};
    return remoteAddress === undefined ? "unknown" : `${remoteAddress}:${remotePort}`;
  }

  getDeadline(): number {
    return this.#deadlineMs;
  }

  /** A certificate that holds, as the transport verified it. */
  getAuthContext(): AuthContext {
    const socket = this.#socket;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
    const certificate = socket.getPeerCertificate();
    return certificate.raw === undefined
      ? { transportSecurityType: "ssl" }
      : { transportSecurityType: "ssl", sslPeerCertificate: certificate };
  }

  /** At the end, whatever it is. */
  once(_event: "cancelled", listener: () => void): this {
    this.#response.once("close", listener);
    return this;
  }
}
