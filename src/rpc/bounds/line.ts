/**
 * The transport of a call, as seen by the call wrappers. For gRPC it is read from grpc-js internals; other transports
 * provide their own.
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import { streamOf } from "./insides.ts";

export type Line = {
  /** The connection of the call: key for sharing costs and for authentication state. Compared by identity. */
  readonly connection: object;
  /** Whether nothing more can be sent: it is closed, or the transport has already answered. */
  readonly isAnswered: boolean;
  /** The gRPC code sent; undefined if none has been. */
  readonly sentCode: number | undefined;
  /** Whether the transport enforces the caller's deadline. */
  readonly watchesDeadline: boolean;
  /** Aborts the call without an answer, if its caller does not read. */
  readonly breakOff: () => void;
};

const ownLine = Symbol("line");

/** A call from a transport other than grpc-js. */
export abstract class LinedCall {
  readonly [ownLine]: Line;

  constructor(line: Line) {
    this[ownLine] = line;
  }
}

class GrpcLine implements Line {
  readonly watchesDeadline = true;
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  get connection(): object {
    return this.#stream.session ?? this.#stream;
  }

  get isAnswered(): boolean {
    const { closed, destroyed, writableEnded } = this.#stream;
    return closed || destroyed || writableEnded;
  }

  /** In the headers for a trailers-only response, else in the trailers. */
  get sentCode(): number | undefined {
    const { sentTrailers, sentHeaders } = this.#stream;
    const code = sentTrailers?.["grpc-status"] ?? sentHeaders?.["grpc-status"];
    return code === undefined ? undefined : Number(code);
  }

  breakOff(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }
}

export const lineOf = (call: object): Line =>
  call instanceof LinedCall ? call[ownLine] : new GrpcLine(streamOf(call));
