/**
 * A stream of answers over HTTP, as the wrapper of server streams writes to it: the first message sends the headers,
 * each calls back when it has passed flow control, and an error after the first is the last line.
 */
import type { Metadata, ServiceError } from "@grpc/grpc-js";
import { status as Code } from "@grpc/grpc-js";
import { HttpCall, type HttpCallOptions, type HttpRequest, type HttpResponse } from "./call.ts";
import type { Framing } from "./framing.ts";

export type StreamOptions = HttpCallOptions & {
  readonly framing: Framing;
  /** Sends the headers. */
  readonly begin: () => void;
  /** A message as JSON on one line, and where to go on after it. */
  readonly encode: (message: unknown) => { readonly json: string; readonly id: string | undefined };
  /** A problem's members as JSON. */
  readonly problem: (error: ServiceError) => string;
  /** The whole answer, while nothing has been sent. */
  readonly refuse: (error: ServiceError) => void;
  /** What a message that cannot be written comes to. */
  readonly broken: (cause: unknown) => ServiceError;
};

export class HttpStreamCall<Message> extends HttpCall<Message> {
  readonly #response: HttpResponse;
  readonly #options: StreamOptions;
  #hasBegun = false;

  constructor(request: HttpRequest, response: HttpResponse, options: StreamOptions) {
    super(request, response, options);
    this.#response = response;
    this.#options = options;
  }

  write(message: unknown, written: () => void): void {
    const { line, framing, encode, broken } = this.#options;
    if (line.isAnswered) return written();
    let text: string;
    try {
      const { json, id } = encode(message);
      text = framing.line("result", json, id);
    } catch (error) {
      this.emit("error", broken(error));
      return written();
    }
    this.#begin();
    let isTold = false;
    const tell = (): void => {
      this.#response.off("close", tell);
      if (!isTold) written();
      isTold = true;
    };
    // Node forgets what waits to be written when its socket goes.
    this.#response.once("close", tell);
    this.#response.write(text, tell);
  }

  end(_trailers: Metadata): void {
    const { line, framing } = this.#options;
    this.#begin();
    line.sentCode = Code.OK;
    this.#response.end(framing.line("end", "{}"));
  }

  emit(_event: "error", error: Error): boolean {
    const { line, framing, problem, refuse } = this.#options;
    const failed = error as ServiceError;
    if (line.isAnswered) return false;
    line.sentCode = failed.code;
    if (this.#hasBegun) this.#response.end(framing.line("error", problem(failed)));
    else refuse(failed);
    return true;
  }

  #begin(): void {
    if (!this.#hasBegun) this.#options.begin();
    this.#hasBegun = true;
  }
}
