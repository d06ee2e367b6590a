/**
 * The lifecycle shared by the four kinds of call, from headers to status. Begin: request id, deadline, cancellation,
 * authentication, authorization, a quota slot, pacing. End, exactly once: status, metrics, log, trailers, and release
 * of everything acquired. In between each kind moves its own messages. Exceptions, rejections and timeouts end as an
 * error status: grpc-js sends nothing for a handler that rejects, so nothing here may reject.
 */
import { status as Code, type Metadata, type ServerUnaryCall, type ServiceError } from "@grpc/grpc-js";
import { SigilFault } from "../../errors.ts";
import { callOverheadMs } from "../../limits.ts";
import { callerKey, type CallContext, type Caller } from "../../identity/caller.ts";
import { lineOf } from "../bounds/line.ts";
import type { Places } from "../bounds/places.ts";
import type { ReplyRoom } from "../bounds/replies.ts";
import { replyBytesMaxOf } from "../bounds/reply-limit.ts";
import { serviceErrorOf, statusOf, type Occurrence } from "../status.ts";
import { allowedMs, isTimeUp, recordMetadata, requestIdOf, type Allowed } from "./context.ts";
import { occurrenceOf, recordEnd, trailersOf } from "./ending.ts";
import type { RpcEnvironment } from "./environment.ts";
import { connectionOf, flowOfPeer, identifyCaller } from "./identify.ts";
import { CallPace, type Flow } from "./pacing.ts";

/** The parts of a call used here, for every kind and transport. */
export type GrpcCall = Pick<
  ServerUnaryCall<unknown, unknown>,
  "metadata" | "getAuthContext" | "getPeer" | "getDeadline"
> & {
  readonly once: (event: "cancelled", listener: () => void) => unknown;
  /**
   * `CallContext.itemMetadata`, read after the request is decoded; for transports that carry more than the RPC's
   * request.
   */
  readonly itemMetadata?: () => CallContext["itemMetadata"];
};

/** Differences between the kinds. */
export type CallKind = {
  /** The time limit, by the server's rules or by the caller's deadline alone. */
  readonly allowed: (deadline: Date | number, nowMs: number) => Allowed;
  /** Quota of which it takes one slot. */
  readonly places?: Places;
  /** Passes the error to the transport. */
  readonly refuse: (error: ServiceError) => void;
};

/** Maximum delay of a timer; longer deadlines are enforced only by grpc-js. */
const timerMsMax = 2 ** 31 - 1;

/** For short calls: the default if the caller sets no deadline, at most the maximum. */
export const boundedTime =
  ({ deadlines }: RpcEnvironment): CallKind["allowed"] =>
  (deadline, nowMs) =>
    allowedMs(deadline, nowMs, deadlines);

/** For long-lived calls. grpc-js also enforces the deadline, but does not report it while the caller does not read. */
export const callersTime: CallKind["allowed"] = (deadline, nowMs) => {
  const deadlineMs = Math.max(0, Number(deadline) - nowMs);
  return { deadlineMs, enforced: deadlineMs <= timerMsMax };
};

/** Runs a handler in a turn of the flow that it is charged to. @throws cancelled if the call has ended. */
export const inTurn = async <Result>(
  flow: Flow,
  nowMs: () => number,
  { weight, isWanted }: { readonly weight: number; readonly isWanted: () => boolean },
  work: (pace: CallPace) => Promise<Result> | Result,
): Promise<Result> => {
  const turn = flow.enter(weight, isWanted);
  if (turn !== undefined) await turn;
  const pace = new CallPace(flow, nowMs, isWanted, weight);
  try {
    // The call was cancelled or timed out before its turn.
    if (!isWanted()) throw new SigilFault({ kind: "cancelled" });
    return await flow.run(() => work(pace));
  } finally {
    flow.leave(pace.weight);
  }
};

export class Call {
  readonly requestId: string;
  /** Aborted if the call fails, with the error as reason. */
  readonly signal: AbortSignal;
  /** True until the call has ended. */
  readonly isWanted = (): boolean => !this.#ended;
  readonly #rpc: RpcEnvironment;
  readonly #path: string;
  readonly #call: GrpcCall;
  readonly #kind: CallKind;
  readonly #startMs: number;
  readonly #deadlineMs: number;
  readonly #abort = new AbortController();
  readonly #atEnd: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flow: Flow | undefined;
  #room: ReplyRoom | undefined;
  #isWorking = false;
  #ended = false;

  constructor(rpc: RpcEnvironment, path: string, call: GrpcCall, kind: CallKind) {
    this.#rpc = rpc;
    this.#path = path;
    this.#call = call;
    this.#kind = kind;
    this.signal = this.#abort.signal;
    this.requestId = requestIdOf(call.metadata, rpc.newId);
    this.#startMs = rpc.monotonicMs();
    rpc.underWay.enter();
    const { deadlineMs, enforced } = kind.allowed(call.getDeadline(), rpc.nowMs());
    this.#deadlineMs = deadlineMs;
    if (enforced || (deadlineMs <= timerMsMax && !lineOf(call).watchesDeadline))
      this.#timer = setTimeout(() => this.fail(this.#late()), deadlineMs);
    // grpc-js emits "cancelled" at the end of every call; ignored if the call has already ended.
    call.once("cancelled", () => this.#cancelled());
  }

  /** Never rejects. @param pump moves the messages; ends the call, or leaves it running. */
  async run(pump: (caller: Caller, flow: Flow) => Promise<void> | void): Promise<void> {
    try {
      const caller = await this.identify();
      if (this.#ended) return;
      const flow = this.flowOf(caller);
      const { places } = this.#kind;
      if (places !== undefined) {
        // Refused calls are charged as well.
        await flow.enter(0, this.isWanted);
        if (this.#ended) return;
        flow.charge(callOverheadMs);
        this.atEnd(places.take(caller));
      }
      await pump(caller, flow);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Authenticates and authorizes the caller; repeated during streams, since tokens expire and principals change. */
  identify(): Promise<Caller> {
    return identifyCaller(this.#rpc, this.#path, this.#call, this.isWanted);
  }

  /** The flow of this caller on this connection, charged with the call from now on. */
  flowOf(caller: Caller): Flow {
    this.#flow = this.#rpc.pacing.flowOf(callerKey(caller), connectionOf(this.#call));
    return this.#flow;
  }

  /** An unauthenticated call is charged to its peer address. */
  get charged(): Flow {
    return this.#flow ?? flowOfPeer(this.#rpc, this.#call);
  }

  get occurrence(): Occurrence {
    return occurrenceOf(this.#rpc, this.#path, this.requestId);
  }

  /** The context of every handler. */
  context(): CallContext {
    const metadata = recordMetadata(this.#call.metadata, this.requestId);
    const itemMetadata = this.#call.itemMetadata?.();
    const context = { signal: this.signal, deadlineMs: this.#deadlineMs, metadata };
    return itemMetadata === undefined ? context : { ...context, itemMetadata };
  }

  /** The context of a handler whose replies may be long. @throws invalidField. */
  contextOfReply(): CallContext {
    const replyBytesMax = replyBytesMaxOf(this.#call.metadata, this.#rpc.replyBytesMax);
    return { ...this.context(), replyBytesMax };
  }

  /** The call's reply budget; one per call. */
  roomOf(caller: Caller, bytes: number): ReplyRoom {
    this.#room = this.#rpc.replies.roomOf(caller, bytes, this.signal);
    return this.#room;
  }

  /**
   * Runs a handler's work; its budget stays acquired until it is done, also after cancellation, or many calls cancelled
   * at once would all start work.
   */
  async work<Result>(work: () => Promise<Result> | Result): Promise<Result> {
    this.#isWorking = true;
    try {
      return await work();
    } finally {
      this.#isWorking = false;
      if (this.#ended) this.#leaveRoom();
    }
  }

  /**
   * Whether the caller completed its messages, rather than cancelled. Clients such as Node half-close a stream just
   * before resetting it; a reset that has arrived is processed within one turn of the event loop.
   */
  async isWhole(): Promise<boolean> {
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    return !this.#ended && !lineOf(this.#call).isAnswered;
  }

  /** @param release called once at the end, with any outcome. */
  atEnd(release: () => void): void {
    if (this.#ended) release();
    else this.#atEnd.push(release);
  }

  /** @param stop called when the server stops; immediately if it is already stopping. */
  onDrain(stop: () => void): void {
    const { underWay } = this.#rpc;
    this.atEnd(underWay.onDrain(stop));
    if (underWay.draining) stop();
  }

  /** Ends the call with OK, unless it has already ended. @param send passes the rest to the transport. */
  succeed(send: (trailers: Metadata) => void): void {
    // Cancelled by its caller, or answered by grpc-js, which emits "cancelled" next.
    if (this.#ended || lineOf(this.#call).isAnswered) return;
    this.#ended = true;
    let code: number = Code.INTERNAL;
    try {
      this.charged.run(() => send(trailersOf(this.requestId)));
      // If a message cannot be serialised, grpc-js answers with an error.
      code = lineOf(this.#call).sentCode ?? Code.OK;
    } finally {
      this.#end(code, undefined);
    }
  }

  fail(thrown: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    let code: number = Code.INTERNAL;
    let cause = thrown;
    try {
      this.charged.run(() => {
        const status = statusOf(thrown, this.occurrence);
        this.#kind.refuse(serviceErrorOf(status, this.requestId));
        code = status.code;
      });
    } catch (error) {
      // Thrown from a timer or an unawaited promise it would end the process.
      cause = error;
    }
    this.#breakOff(code, thrown, cause);
  }

  /** Cancelled, or answered by grpc-js: the status sent is the outcome. */
  #cancelled(): void {
    this.#leaveRoom();
    if (this.#ended) return;
    this.#ended = true;
    const sent = lineOf(this.#call).sentCode;
    const isLate = isTimeUp(this.#call.getDeadline(), this.#rpc.nowMs());
    if (sent === Code.DEADLINE_EXCEEDED || (sent === undefined && isLate)) {
      this.#breakOff(Code.DEADLINE_EXCEEDED, this.#late());
    } else if (sent === undefined) {
      this.#breakOff(Code.CANCELLED, new SigilFault({ kind: "cancelled" }));
    } else {
      this.#breakOff(sent, new SigilFault({ kind: "cancelled" }), undefined);
    }
  }

  #late(): SigilFault {
    return new SigilFault({ kind: "deadlineExceeded", deadlineMs: this.#deadlineMs });
  }

  /** Aborts the work of the call with the reason of its end. */
  #breakOff(code: number, reason: unknown, thrown: unknown = reason): void {
    this.#leaveRoom();
    this.#abort.abort(reason);
    this.#end(code, thrown);
  }

  #leaveRoom(): void {
    if (!this.#isWorking) this.#room?.leave();
  }

  #end(code: number, thrown: unknown): void {
    clearTimeout(this.#timer);
    for (const release of this.#atEnd) release();
    const elapsedMs = this.#rpc.monotonicMs() - this.#startMs;
    recordEnd(this.#rpc, { path: this.#path, requestId: this.requestId, code, elapsedMs, thrown });
    this.#rpc.underWay.leave();
  }
}
