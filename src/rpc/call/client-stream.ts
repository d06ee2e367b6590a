/**
 * The one wrapper of client-streaming handlers: who calls, may they, the messages as they come, one answer. A message is
 * taken only when the handler asks for it, so that a caller is read no faster than it is served. Has a deadline as unary
 * calls have. Whatever throws, rejects or takes too long ends as an error status; nothing here rejects.
 */
import {
  status as Code,
  type handleClientStreamingCall,
  type sendUnaryData,
  type ServerReadableStream,
} from "@grpc/grpc-js";
import { SigilFault } from "../../errors.ts";
import { callerKey, type CallContext, type Caller } from "../../identity/caller.ts";
import { allowedMs, isTimeUp, recordMetadata, requestIdOf } from "./context.ts";
import { readRequest } from "./decode.ts";
import { occurrenceOf, recordEnd, trailersOf } from "./ending.ts";
import type { RpcEnvironment } from "./environment.ts";
import { connectionOf, identifyCaller } from "./identify.ts";
import { releaseRequest } from "../bounds/intake.ts";
import type { Flow } from "./pacing.ts";
import { serviceErrorOf, statusOf } from "../status.ts";

/** A handler's own part. Need not read to the end. */
export type UploadAnswer<Request, Response> = (
  caller: Caller,
  requests: AsyncIterable<Request>,
  call: CallContext,
) => Promise<Response>;

class ClientStreamCall<Request, Response> {
  readonly #rpc: RpcEnvironment;
  readonly #path: string;
  readonly #stream: ServerReadableStream<Request, Response>;
  readonly #callback: sendUnaryData<Response>;
  readonly #requestId: string;
  readonly #startMs: number;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #givePlaceBack = (): void => {};

  constructor(
    rpc: RpcEnvironment,
    path: string,
    stream: ServerReadableStream<Request, Response>,
    callback: sendUnaryData<Response>,
  ) {
    this.#rpc = rpc;
    this.#path = path;
    this.#stream = stream;
    this.#callback = callback;
    this.#requestId = requestIdOf(stream.metadata, rpc.newId);
    this.#startMs = rpc.monotonicMs();
  }

  /** Never rejects. */
  async run(answer: UploadAnswer<Request, Response>): Promise<void> {
    this.#rpc.underWay.enter();
    try {
      this.#succeed(await this.#answer(answer));
    } catch (error) {
      this.#fail(error);
    }
  }

  async #answer(answer: UploadAnswer<Request, Response>): Promise<Response> {
    const deadlineMs = this.#watch();
    const { metadata } = this.#stream;
    const caller = await identifyCaller(this.#rpc, this.#path, this.#stream, () => !this.#ended);
    if (this.#ended) throw new SigilFault({ kind: "cancelled" });
    this.#givePlaceBack = this.#rpc.uploads.take(caller);
    const { signal } = this.#abort;
    const flow = this.#rpc.pacing.flowOf(callerKey(caller), connectionOf(this.#stream));
    return answer(caller, this.#requests(flow), {
      signal,
      deadlineMs,
      metadata: recordMetadata(metadata, this.#requestId),
    });
  }

  async *#requests(flow: Flow): AsyncGenerator<Request, void, undefined> {
    for await (const request of this.#stream as AsyncIterable<Request>) {
      await flow.pause(() => !this.#ended);
      if (this.#ended) throw new SigilFault({ kind: "cancelled" });
      yield flow.run(() => readRequest(request));
      // Whoever asks for the next is done with this one, or has counted what it keeps of it.
      releaseRequest(request);
    }
    // A caller that left ends its messages too: what came is not all there was to come.
    if (this.#ended || this.#stream.cancelled) throw new SigilFault({ kind: "cancelled" });
  }

  /** Ends the call when its time is up or its caller leaves, whatever the handler does. @returns milliseconds. */
  #watch(): number {
    const { deadlines, nowMs } = this.#rpc;
    const given = this.#stream.getDeadline();
    const { deadlineMs, enforced } = allowedMs(given, nowMs(), deadlines);
    if (enforced) {
      const late = new SigilFault({ kind: "deadlineExceeded", deadlineMs });
      this.#timer = setTimeout(() => this.#fail(late), deadlineMs);
    }
    this.#stream.once("cancelled", () => {
      if (this.#ended) return;
      const isLate = isTimeUp(given, nowMs());
      this.#fail(new SigilFault(isLate ? { kind: "deadlineExceeded", deadlineMs } : { kind: "cancelled" }));
    });
    return deadlineMs;
  }

  #succeed(response: Response): void {
    if (this.#ended) return;
    this.#end(Code.OK, undefined);
    this.#callback(null, response, trailersOf(this.#requestId));
  }

  #fail(thrown: unknown): void {
    if (this.#ended) return;
    const status = statusOf(thrown, occurrenceOf(this.#rpc, this.#path, this.#requestId));
    this.#end(status.code, thrown);
    this.#callback(serviceErrorOf(status, this.#requestId));
    this.#abort.abort(thrown);
    // Whoever still waits for a message waits no longer.
    this.#stream.destroy();
  }

  #end(code: number, thrown: unknown): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#givePlaceBack();
    this.#rpc.underWay.leave();
    const elapsedMs = this.#rpc.monotonicMs() - this.#startMs;
    recordEnd(this.#rpc, { path: this.#path, requestId: this.#requestId, code, elapsedMs, thrown });
  }
}

export const clientStreaming =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: UploadAnswer<Request, Response>,
  ): handleClientStreamingCall<Request, Response> =>
  (stream, callback) => {
    void new ClientStreamCall(rpc, path, stream, callback).run(answer);
  };
