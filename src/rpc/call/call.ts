/**
 * What the four kinds of call share, from headers to status. Begin: request id, deadline, cancellation, who calls, may
 * they, a place, the caller's turn. End, exactly once: status, metrics, log, trailers, and everything taken given back.
 * Between the two each kind moves its own messages. Whatever throws, rejects or takes too long ends as an error status:
 * grpc-js sends nothing for a handler that rejects, so nothing here may reject.
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

/** What is read of a call, whatever its kind and its transport. */
export type GrpcCall = Pick<
  ServerUnaryCall<unknown, unknown>,
  "metadata" | "getAuthContext" | "getPeer" | "getDeadline"
> & {
  readonly once: (event: "cancelled", listener: () => void) => unknown;
  /**
   * As `CallContext` has it, asked when the request has been decoded; of transports that carry more than an RPC's
   * request says.
   */
  readonly itemMetadata?: () => CallContext["itemMetadata"];
};

/** Where the kinds differ. */
export type CallKind = {
  /** How long it may take: as the server's rules say, or as its caller says alone. */
  readonly allowed: (deadline: Date | number, nowMs: number) => Allowed;
  /** Counted places that it takes one of. */
  readonly places?: Places;
  /** Hands the error to the transport. */
  readonly refuse: (error: ServiceError) => void;
};

/** The longest a timer waits; past it grpc-js alone watches. */
const timerMsMax = 2 ** 31 - 1;

/** Of kinds whose calls are short: the default where a caller says nothing, the maximum where it says more. */
export const boundedTime =
  ({ deadlines }: RpcEnvironment): CallKind["allowed"] =>
  (deadline, nowMs) =>
    allowedMs(deadline, nowMs, deadlines);

/** Of kinds whose calls last. grpc-js watches as well, but tells nobody while the caller does not read. */
export const callersTime: CallKind["allowed"] = (deadline, nowMs) => {
  const deadlineMs = Math.max(0, Number(deadline) - nowMs);
  return { deadlineMs, enforced: deadlineMs <= timerMsMax };
};

/**
 * A handler's own part, in a turn of the flow that it is charged to. @throws cancelled when nobody wants it any more.
 */
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
    // Its caller left, or its time was up, before its turn came.
    if (!isWanted()) throw new SigilFault({ kind: "cancelled" });
    return await flow.run(() => work(pace));
  } finally {
    flow.leave(pace.weight);
  }
};

export class Call {
  readonly requestId: string;
  /** Aborted when the call fails; its reason is why. */
  readonly signal: AbortSignal;
  /** While the call has not ended. */
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
    // grpc-js says "cancelled" at the end of every call; only the first end counts, and an error costs its stack.
    call.once("cancelled", () => this.#cancelled());
  }

  /** Never rejects. @param pump moves the messages; it ends the call, or lets it go on by itself. */
  async run(pump: (caller: Caller, flow: Flow) => Promise<void> | void): Promise<void> {
    try {
      const caller = await this.identify();
      if (this.#ended) return;
      const flow = this.flowOf(caller);
      const { places } = this.#kind;
      if (places !== undefined) {
        // Refused ones cost as well.
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

  /**
   * Who calls, and whether they may; to be asked again while a stream lives: a token expires and a principal changes.
   */
  identify(): Promise<Caller> {
    return identifyCaller(this.#rpc, this.#path, this.#call, this.isWanted);
  }

  /** Of this caller on this connection; what the call costs from now on is charged to it. */
  flowOf(caller: Caller): Flow {
    this.#flow = this.#rpc.pacing.flowOf(callerKey(caller), connectionOf(this.#call));
    return this.#flow;
  }

  /** Whoever has not said who it is pays as the peer it calls from. */
  get charged(): Flow {
    return this.#flow ?? flowOfPeer(this.#rpc, this.#call);
  }

  get occurrence(): Occurrence {
    return occurrenceOf(this.#rpc, this.#path, this.requestId);
  }

  /** What every handler is told. */
  context(): CallContext {
    const metadata = recordMetadata(this.#call.metadata, this.requestId);
    const itemMetadata = this.#call.itemMetadata?.();
    const context = { signal: this.signal, deadlineMs: this.#deadlineMs, metadata };
    return itemMetadata === undefined ? context : { ...context, itemMetadata };
  }

  /** And the handler of one request, whose answers may be long. @throws invalidField. */
  contextOfReply(): CallContext {
    const replyBytesMax = replyBytesMaxOf(this.#call.metadata, this.#rpc.replyBytesMax);
    return { ...this.context(), replyBytesMax };
  }

  /** Room for what is read and sent, of which the call has one. */
  roomOf(caller: Caller, bytes: number): ReplyRoom {
    this.#room = this.#rpc.replies.roomOf(caller, bytes, this.signal);
    return this.#room;
  }

  /**
   * A handler's work, whose room stays taken until it is done, also past the end: many that leave at once would all
   * begin.
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
   * Whether its caller has sent all that it means to send, once its messages have ended. A client that cancels
   * half-closes its stream right before it resets it, as Node's does: what has arrived by now has been read after a
   * whole turn of the event loop.
   */
  async isWhole(): Promise<boolean> {
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    return !this.#ended && !lineOf(this.#call).isAnswered;
  }

  /** @param release is called once, at the end whatever it is. */
  atEnd(release: () => void): void {
    if (this.#ended) release();
    else this.#atEnd.push(release);
  }

  /** @param stop is called when the server stops; at once when it is stopping. */
  onDrain(stop: () => void): void {
    const { underWay } = this.#rpc;
    this.atEnd(underWay.onDrain(stop));
    if (underWay.draining) stop();
  }

  /** Ends it OK, unless it has ended or is broken. @param send hands the transport what is left to be sent. */
  succeed(send: (trailers: Metadata) => void): void {
    // Broken off by its caller, or answered by grpc-js: that says "cancelled" next.
    if (this.#ended || lineOf(this.#call).isAnswered) return;
    this.#ended = true;
    let code: number = Code.INTERNAL;
    try {
      this.charged.run(() => send(trailersOf(this.requestId)));
      // A message that cannot be serialised is answered by grpc-js.
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
      // From a timer or a promise that nobody awaits it would end the process.
      cause = error;
    }
    this.#breakOff(code, thrown, cause);
  }

  /** Its caller left, or grpc-js has answered it: what was sent is its end. */
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

  /** Whoever works for the call learns why it ended. */
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
