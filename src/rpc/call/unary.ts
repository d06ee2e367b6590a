/**
 * The one wrapper of unary handlers: who calls, may they, the handler, the answer. Whatever throws, rejects or takes too
 * long ends as an error status. grpc-js sends nothing for a handler that rejects, so nothing here may reject.
 */
import { constants } from "node:http2";
import {
  status as Code,
  type handleUnaryCall,
  type sendUnaryData,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { ModuleServiceService } from "@sigil/proto/sigil/module/v1/module";
import { SigilFault } from "../../errors.ts";
import { callerKey, type CallContext, type Caller } from "../../identity/caller.ts";
import { allowedMs, isTimeUp, recordMetadata, requestIdOf } from "./context.ts";
import { bytesOf, readRequest } from "./decode.ts";
import { occurrenceOf, recordEnd, trailersOf } from "./ending.ts";
import type { RpcEnvironment } from "./environment.ts";
import { connectionOf, flowOfPeer, identifyCaller } from "./identify.ts";
import { streamOf } from "../bounds/insides.ts";
import { CallPace, type Flow } from "./pacing.ts";
import type { ReplyRoom } from "../bounds/replies.ts";
import { replyBytesOf } from "../bounds/reply-bytes.ts";
import { replyBytesMaxOf } from "../bounds/reply-limit.ts";
import { serviceErrorOf, statusOf } from "../status.ts";

/** A handler's own part. May throw or reject with anything. */
export type Answer<Request, Response> = (
  caller: Caller,
  request: Request,
  call: CallContext,
) => Promise<Response> | Response;

/** Runs of modules last long elsewhere and are bounded there: a caller's checks do not wait for them. */
const isLong = (path: string): boolean => path === ModuleServiceService.run.path;

class UnaryCall<Request, Response> {
  readonly #rpc: RpcEnvironment;
  readonly #path: string;
  readonly #call: ServerUnaryCall<Request, Response>;
  readonly #callback: sendUnaryData<Response>;
  readonly #requestId: string;
  readonly #startMs: number;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #room: ReplyRoom | undefined;
  #flow: Flow | undefined;
  #isAnswering = false;
  #ended = false;

  constructor(
    rpc: RpcEnvironment,
    path: string,
    call: ServerUnaryCall<Request, Response>,
    callback: sendUnaryData<Response>,
  ) {
    this.#rpc = rpc;
    this.#path = path;
    this.#call = call;
    this.#callback = callback;
    this.#requestId = requestIdOf(call.metadata, rpc.newId);
    this.#startMs = rpc.monotonicMs();
  }

  /** Never rejects. */
  async run(answer: Answer<Request, Response>): Promise<void> {
    const { underWay } = this.#rpc;
    underWay.enter();
    try {
      const { deadlineMs } = this.#watch();
      await this.#answer(answer, deadlineMs);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #answer(answer: Answer<Request, Response>, deadlineMs: number): Promise<void> {
    const { pacing, replies } = this.#rpc;
    const isWanted = (): boolean => !this.#ended;
    const caller = await identifyCaller(this.#rpc, this.#path, this.#call, isWanted);
    const long = replyBytesOf(this.#path);
    if (long !== undefined) {
      this.#room = replies.roomOf(caller, long.bytes(bytesOf(this.#call.request)), this.#abort.signal);
      await this.#room.enter();
    }
    const flow = pacing.flowOf(callerKey(caller), connectionOf(this.#call));
    this.#flow = flow;
    const weight = isLong(this.#path) ? 0 : 1;
    const turn = flow.enter(weight, isWanted);
    if (turn !== undefined) await turn;
    const pace = new CallPace(flow, pacing.nowMs, isWanted, weight);
    let response: Response;
    this.#isAnswering = true;
    try {
      // Its caller left, or its time was up, before its turn came.
      if (this.#ended) return;
      response = await flow.run(() => this.#begin(answer, caller, pace, deadlineMs));
    } finally {
      flow.leave(pace.weight);
      this.#isAnswering = false;
      if (this.#ended) this.#leaveRoom();
    }
    this.#succeed(response);
  }

  #begin(
    answer: Answer<Request, Response>,
    caller: Caller,
    pace: CallPace,
    deadlineMs: number,
  ): Promise<Response> | Response {
    const { metadata, request } = this.#call;
    return answer(caller, readRequest(request), {
      signal: this.#abort.signal,
      deadlineMs,
      pace,
      replyBytesMax: replyBytesMaxOf(metadata, this.#rpc.replyBytesMax),
      metadata: recordMetadata(metadata, this.#requestId),
    });
  }

  /** Not while the handler still works: many that leave at once would all begin. */
  #leaveRoom(): void {
    if (!this.#isAnswering) this.#room?.leave();
  }

  /** Ends the call when its time is up or its caller leaves, whatever the handler does. */
  #watch(): { readonly deadlineMs: number } {
    const { deadlines, nowMs } = this.#rpc;
    const given = this.#call.getDeadline();
    const { deadlineMs, enforced } = allowedMs(given, nowMs(), deadlines);
    if (enforced) {
      this.#timer = setTimeout(
        () => this.#fail(new SigilFault({ kind: "deadlineExceeded", deadlineMs })),
        deadlineMs,
      );
    }
    // grpc-js says "cancelled" at the end of every call; only the first end counts, and an error costs its stack.
    this.#call.once("cancelled", () => {
      this.#leaveRoom();
      if (this.#ended) return;
      const isLate = isTimeUp(given, nowMs());
      this.#fail(new SigilFault(isLate ? { kind: "deadlineExceeded", deadlineMs } : { kind: "cancelled" }));
    });
    return { deadlineMs };
  }

  /** Whoever has not said who it is pays as the peer it calls from. */
  get #charged(): Flow {
    return this.#flow ?? flowOfPeer(this.#rpc, this.#call);
  }

  #succeed(response: Response): void {
    if (this.#ended) return;
    this.#end(Code.OK, undefined);
    this.#charged.run(() => this.#callback(null, response, trailersOf(this.#requestId)));
    // Kept until the answer has left: grpc-js says "cancelled" then.
    this.#room?.sent(response as object, () => streamOf(this.#call).close(constants.NGHTTP2_CANCEL));
  }

  #fail(thrown: unknown): void {
    if (this.#ended) return;
    this.#charged.run(() => {
      const status = statusOf(thrown, occurrenceOf(this.#rpc, this.#path, this.#requestId));
      this.#end(status.code, thrown);
      this.#callback(serviceErrorOf(status, this.#requestId));
    });
    this.#leaveRoom();
    // Whoever works for the call learns why it ended.
    this.#abort.abort(thrown);
  }

  #end(code: number, thrown: unknown): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#rpc.underWay.leave();
    const elapsedMs = this.#rpc.monotonicMs() - this.#startMs;
    recordEnd(this.#rpc, { path: this.#path, requestId: this.#requestId, code, elapsedMs, thrown });
  }
}

export const unary =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: Answer<Request, Response>,
  ): handleUnaryCall<Request, Response> =>
  (call, callback) => {
    void new UnaryCall(rpc, path, call, callback).run(answer);
  };
