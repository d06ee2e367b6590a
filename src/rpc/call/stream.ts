/**
 * Bidirectional calls. Each message is answered separately, in any order; a failed one is answered with its status and
 * the stream continues. A message is in flight until its answer has passed flow control, so a caller that does not read
 * stops the server from reading (backpressure): at most `streamInFlightMax` messages and what grpc-js prefetches. No
 * deadline but the caller's; each message has the default one.
 */
import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import type { Status } from "@sigil/proto/google/rpc/status";
import { SigilFault } from "../../errors.ts";
import { streamInFlightMax } from "../../limits.ts";
import type { CallContext } from "../../identity/caller.ts";
import { releaseRequest } from "../bounds/intake.ts";
import { statusOf } from "../status.ts";
import { Call, callersTime, inTurn } from "./call.ts";
import { readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";
import type { Flow } from "./pacing.ts";
import type { Answer } from "./unary.ts";

export type StreamAnswers<Request, Response> = {
  readonly answer: Answer<Request, Response>;
  /** The answer to a message that failed. */
  readonly refuse: (request: Request | undefined, error: Status) => Response;
};

/** Moves the messages of one stream. */
class Messages<Request, Response> {
  readonly #rpc: RpcEnvironment;
  readonly #stream: ServerDuplexStream<Request, Response>;
  readonly #call: Call;
  readonly #answers: StreamAnswers<Request, Response>;
  #inFlight = 0;
  #halfClosed = false;
  #draining = false;

  constructor(
    rpc: RpcEnvironment,
    stream: ServerDuplexStream<Request, Response>,
    call: Call,
    answers: StreamAnswers<Request, Response>,
  ) {
    this.#rpc = rpc;
    this.#stream = stream;
    this.#call = call;
    this.#answers = answers;
  }

  begin(): void {
    this.#stream.on("data", (request: Request) => void this.#take(request));
    this.#stream.on("end", () => void this.#halfClose());
  }

  drain(): void {
    this.#draining = true;
    this.#stream.pause();
    this.#endIfDone();
  }

  async #halfClose(): Promise<void> {
    if (!(await this.#call.isWhole())) return;
    this.#halfClosed = true;
    this.#endIfDone();
  }

  /** Never rejects. */
  async #take(request: Request): Promise<void> {
    this.#inFlight += 1;
    if (this.#inFlight >= streamInFlightMax) this.#stream.pause();
    try {
      const response = await this.#respond(request);
      if (!this.#call.isWanted()) return;
      // Called when the answer has passed flow control, or with an error if the stream is closed.
      const written = (): void => {
        releaseRequest(request);
        this.#inFlight -= 1;
        if (this.#inFlight < streamInFlightMax && !this.#draining) this.#stream.resume();
        this.#endIfDone();
      };
      this.#call.charged.run(() => this.#stream.write(response, written));
    } catch (error) {
      this.#call.fail(error);
    }
  }

  async #respond(request: Request): Promise<Response> {
    let message: Request | undefined;
    const read = (flow: Flow): Request => (message = readRequest(request, flow));
    const abort = new AbortController();
    const { signal } = this.#call;
    const leave = (): void => abort.abort(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    const deadlineMs = this.#rpc.deadlines.deadlineMsDefault;
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new SigilFault({ kind: "deadlineExceeded", deadlineMs })),
          deadlineMs,
        );
      });
      const answered = this.#answer(read, abort.signal, deadlineMs);
      return await Promise.race([answered, late]);
    } catch (error) {
      abort.abort(error);
      return this.#call.charged.run(() =>
        this.#answers.refuse(message, statusOf(error, this.#call.occurrence)),
      );
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  }

  async #answer(read: (flow: Flow) => Request, signal: AbortSignal, deadlineMs: number): Promise<Response> {
    const caller = await this.#call.identify();
    const flow = this.#call.flowOf(caller);
    const turn = { weight: 1, isWanted: (): boolean => !signal.aborted };
    return inTurn(flow, this.#rpc.pacing.nowMs, turn, (pace) => {
      const context: CallContext = { ...this.#call.context(), signal, deadlineMs, pace };
      return this.#answers.answer(caller, read(flow), context);
    });
  }

  #endIfDone(): void {
    if (this.#inFlight > 0) return;
    if (this.#halfClosed) this.#call.succeed((trailers) => this.#stream.end(trailers));
    else if (this.#draining)
      this.#call.fail(new SigilFault({ kind: "notServing", rule: "the server is stopping" }));
  }
}

export const bidirectional =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answers: StreamAnswers<Request, Response>,
  ): handleBidiStreamingCall<Request, Response> =>
  (stream) => {
    const { streams: places } = rpc;
    const refuse = (error: Error): void => void stream.emit("error", error);
    const call = new Call(rpc, path, stream, { allowed: callersTime, places, refuse });
    const messages = new Messages(rpc, stream, call, answers);
    call.onDrain(() => messages.drain());
    void call.run(() => messages.begin());
  };
