/**
 * The one wrapper of bidirectional handlers. Each message is answered by itself, in whatever order; one that fails is
 * answered with its status and the stream goes on. Under way is a message until its answer has left for the socket, so
 * a caller that does not read stops the server from reading: at most `streamInFlightMax` and what grpc-js prefetches.
 */
import { status as Code, type handleBidiStreamingCall, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Status } from "@sigil/proto/google/rpc/status";
import { SigilFault } from "../../errors.ts";
import { streamInFlightMax } from "../../limits.ts";
import { callerKey, type CallContext, type Caller } from "../../identity/caller.ts";
import { recordMetadata, requestIdOf } from "./context.ts";
import { readRequest } from "./decode.ts";
import { occurrenceOf, recordEnd, trailersOf } from "./ending.ts";
import type { RpcEnvironment } from "./environment.ts";
import { connectionOf, flowOfPeer, identifyCaller } from "./identify.ts";
import { releaseRequest } from "../bounds/intake.ts";
import { CallPace, type Flow } from "./pacing.ts";
import { serviceErrorOf, statusOf, type Occurrence } from "../status.ts";
import type { Answer } from "./unary.ts";

export type StreamAnswers<Request, Response> = {
  readonly answer: Answer<Request, Response>;
  /** The answer to a message that failed. */
  readonly refuse: (request: Request | undefined, error: Status) => Response;
};

class BidiCall<Request, Response> {
  readonly #rpc: RpcEnvironment;
  readonly #path: string;
  readonly #stream: ServerDuplexStream<Request, Response>;
  readonly #answers: StreamAnswers<Request, Response>;
  readonly #requestId: string;
  readonly #occurrence: Occurrence;
  readonly #startMs: number;
  readonly #abort = new AbortController();
  #flow: Flow | undefined;
  #inFlight = 0;
  #halfClosed = false;
  #draining = false;
  #ended = false;
  #forgetDrain = (): void => {};
  #givePlaceBack = (): void => {};

  constructor(
    rpc: RpcEnvironment,
    path: string,
    stream: ServerDuplexStream<Request, Response>,
    answers: StreamAnswers<Request, Response>,
  ) {
    this.#rpc = rpc;
    this.#path = path;
    this.#stream = stream;
    this.#answers = answers;
    this.#requestId = requestIdOf(stream.metadata, rpc.newId);
    this.#occurrence = occurrenceOf(rpc, path, this.#requestId);
    this.#startMs = rpc.monotonicMs();
  }

  /** Never rejects. A stream whose caller is not who it says, or may not, ends before its first message. */
  async run(): Promise<void> {
    this.#rpc.underWay.enter();
    this.#stream.once("cancelled", () => this.#cancelled());
    try {
      const caller = await this.#identify();
      if (this.#ended) return;
      this.#givePlaceBack = this.#rpc.streams.take(caller);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#forgetDrain = this.#rpc.underWay.onDrain(() => this.#drain());
    this.#stream.on("data", (request: Request) => void this.#take(request));
    this.#stream.on("end", () => {
      this.#halfClosed = true;
      this.#endIfDone();
    });
    if (this.#rpc.underWay.draining) this.#drain();
  }

  /** Asked again for every message: a token expires and a principal is revoked while a stream lives. */
  #identify(): Promise<Caller> {
    return identifyCaller(this.#rpc, this.#path, this.#stream, () => !this.#ended);
  }

  async #take(request: Request): Promise<void> {
    this.#inFlight += 1;
    if (this.#inFlight >= streamInFlightMax) this.#stream.pause();
    const response = await this.#respond(request);
    if (this.#ended) return;
    // Called when the answer has passed flow control, or with an error when the stream is gone.
    const written = (): void => {
      releaseRequest(request);
      this.#inFlight -= 1;
      if (this.#inFlight < streamInFlightMax && !this.#draining) this.#stream.resume();
      this.#endIfDone();
    };
    this.#charged.run(() => this.#stream.write(response, written));
  }

  /** Never rejects. */
  async #respond(request: Request): Promise<Response> {
    let message: Request | undefined;
    const read = (): Request => (message = readRequest(request));
    const abort = new AbortController();
    const leave = (): void => abort.abort();
    this.#abort.signal.addEventListener("abort", leave, { once: true });
    const deadlineMs = this.#rpc.deadlines.deadlineMsDefault;
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new SigilFault({ kind: "deadlineExceeded", deadlineMs })),
          deadlineMs,
        );
      });
      const metadata = recordMetadata(this.#stream.metadata, this.#requestId);
      const answered = this.#answer(read, { signal: abort.signal, deadlineMs, metadata });
      return await Promise.race([answered, late]);
    } catch (error) {
      abort.abort();
      return this.#charged.run(() => this.#answers.refuse(message, statusOf(error, this.#occurrence)));
    } finally {
      clearTimeout(timer);
      this.#abort.signal.removeEventListener("abort", leave);
    }
  }

  async #answer(read: () => Request, call: CallContext): Promise<Response> {
    const { pacing } = this.#rpc;
    const caller = await this.#identify();
    const flow = pacing.flowOf(callerKey(caller), connectionOf(this.#stream));
    this.#flow = flow;
    const isWanted = (): boolean => !call.signal.aborted;
    const turn = flow.enter(1, isWanted);
    if (turn !== undefined) await turn;
    const pace = new CallPace(flow, pacing.nowMs, isWanted);
    try {
      if (!isWanted()) throw new SigilFault({ kind: "cancelled" });
      return await flow.run(() => this.#answers.answer(caller, read(), { ...call, pace }));
    } finally {
      flow.leave(pace.weight);
    }
  }

  get #charged(): Flow {
    return this.#flow ?? flowOfPeer(this.#rpc, this.#stream);
  }

  #drain(): void {
    this.#draining = true;
    this.#stream.pause();
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#ended || this.#inFlight > 0) return;
    if (this.#halfClosed) {
      this.#ended = true;
      this.#stream.end(trailersOf(this.#requestId));
      this.#finish(Code.OK, undefined);
    } else if (this.#draining) {
      this.#fail(new SigilFault({ kind: "notServing", rule: "the server is stopping" }));
    }
  }

  #fail(thrown: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const status = statusOf(thrown, this.#occurrence);
    this.#stream.emit("error", serviceErrorOf(status, this.#requestId));
    this.#finish(status.code, thrown);
  }

  #cancelled(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#finish(Code.CANCELLED, new SigilFault({ kind: "cancelled" }));
  }

  #finish(code: number, thrown: unknown): void {
    this.#forgetDrain();
    this.#givePlaceBack();
    this.#abort.abort();
    // A stream is as long as its caller likes: its length is no slowness.
    const ended = { path: this.#path, requestId: this.#requestId, code, thrown };
    recordEnd(this.#rpc, { ...ended, elapsedMs: this.#rpc.monotonicMs() - this.#startMs });
    this.#rpc.underWay.leave();
  }
}

export const bidirectional =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answers: StreamAnswers<Request, Response>,
  ): handleBidiStreamingCall<Request, Response> =>
  (stream) => {
    void new BidiCall(rpc, path, stream, answers).run();
  };
