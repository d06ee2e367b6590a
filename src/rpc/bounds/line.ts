/**
 * What the wrappers of calls know of the line that a call is answered on, whatever carries it. gRPC's is read off
 * grpc-js's insides; a call that another transport makes brings its own.
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import { streamOf } from "./insides.ts";

export type Line = {
  /** Where the call came from: costs are shared out by it, and who is proved on it keeps it. Compared by identity. */
  readonly connection: object;
  /** Whether nothing more can be sent: it is closed, or its transport has answered for itself. */
  readonly isAnswered: boolean;
  /** The gRPC code that has been sent; undefined while there is none. */
  readonly sentCode: number | undefined;
  /** Whether the transport ends the call at its caller's own deadline. */
  readonly watchesDeadline: boolean;
  /** Ends it without an answer: its caller does not read. */
  readonly breakOff: () => void;
};

const ownLine = Symbol("line");

/** A call that no grpc-js made. */
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

  /** In headers where nothing came before it, else in trailers. */
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
