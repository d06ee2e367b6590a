/**
 * The one wrapper of server-streaming handlers. A handler gives an async iterable, of which one message is taken at a
 * time and only when the one before has left for the socket: a caller that does not read stops the handler, and nothing is held but
 * that one message. Has no deadline but the caller's. Whatever throws ends as an error status; nothing here rejects.
 */
import { constants } from "node:http2";
import { status as Code, type handleServerStreamingCall, type ServerWritableStream } from "@grpc/grpc-js";
import { fail, SigilFault } from "../../errors.ts";
import { callOverheadMs } from "../../limits.ts";
import { callerKey, type CallContext, type Caller, type Room } from "../../identity/caller.ts";
import { isTimeUp, recordMetadata, requestIdOf } from "./context.ts";
import { bytesOf, readRequest } from "./decode.ts";
import { occurrenceOf, recordEnd, trailersOf } from "./ending.ts";
import type { RpcEnvironment } from "./environment.ts";
import { connectionOf, identifyCaller } from "./identify.ts";
import { streamOf } from "../bounds/insides.ts";
import type { Flow } from "./pacing.ts";
import type { ReplyRoom } from "../bounds/replies.ts";
import { replyBytesOf, type ReplyBytes } from "../bounds/reply-bytes.ts";
import { replyBytesMaxOf } from "../bounds/reply-limit.ts";
import { serviceErrorOf, statusOf } from "../status.ts";

export type StreamContext = CallContext & {
  /** Of RPCs whose handlers take their room themselves: before they read, and given back while they wait for something to read. */
  readonly room: Room;
};

/** A handler's own part. Its iterable should end when the call's signal aborts; its `return` is called then as well. */
export type StreamAnswer<Request, Response> = (
  caller: Caller,
  request: Request,
  call: StreamContext,
) => AsyncIterable<Response>;

const short: ReplyBytes = { bytes: () => 0, taken: "handler" };

/** The longest a timer waits; past it grpc-js alone watches. */
const timerMsMax = 2 ** 31 - 1;

class ServerStreamCall<Request, Response> {
  readonly #rpc: RpcEnvironment;
  readonly #path: string;
  readonly #stream: ServerWritableStream<Request, Response>;
  readonly #requestId: string;
  readonly #startMs: number;
  readonly #deadlineMs: number;
  readonly #abort = new AbortController();
  #room: ReplyRoom | undefined;
  #isReading = false;
  #timer: NodeJS.Timeout | undefined;
  #messages: AsyncIterator<Response> | undefined;
  #ended = false;
  #forgetDrain = (): void => {};
  #givePlaceBack = (): void => {};

  constructor(rpc: RpcEnvironment, path: string, stream: ServerWritableStream<Request, Response>) {
    this.#rpc = rpc;
    this.#path = path;
    this.#stream = stream;
    this.#requestId = requestIdOf(stream.metadata, rpc.newId);
    this.#startMs = rpc.monotonicMs();
    this.#deadlineMs = Math.max(0, Number(stream.getDeadline()) - rpc.nowMs());
  }

  /** Never rejects. */
  async run(answer: StreamAnswer<Request, Response>): Promise<void> {
    const { underWay } = this.#rpc;
    underWay.enter();
    this.#stream.once("cancelled", () => this.#cancelled());
    this.#forgetDrain = underWay.onDrain(() => this.#drain());
    if (underWay.draining) this.#drain();
    this.#watchDeadline();
    try {
      await this.#send(answer);
      this.#succeed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** grpc-js answers a late caller as well, but tells nobody while that caller does not read. */
  #watchDeadline(): void {
    if (this.#ended || this.#deadlineMs > timerMsMax) return;
    this.#timer = setTimeout(() => this.#fail(this.#late()), this.#deadlineMs);
  }

  #late(): SigilFault {
    return new SigilFault({ kind: "deadlineExceeded", deadlineMs: this.#deadlineMs });
  }

  async #send(answer: StreamAnswer<Request, Response>): Promise<void> {
    const caller = await this.#identify();
    if (this.#ended) return;
    const flow = this.#rpc.pacing.flowOf(callerKey(caller), connectionOf(this.#stream));
    // Refused ones cost as well.
    await flow.enter(0, () => !this.#ended);
    if (this.#ended) return;
    flow.charge(callOverheadMs);
    this.#givePlaceBack = this.#rpc.streams.take(caller);
    const { bytes, taken } = replyBytesOf(this.#path) ?? short;
    const { request: encoded } = this.#stream;
    const room = this.#rpc.replies.roomOf(caller, bytes(bytesOf(encoded)), this.#abort.signal);
    this.#room = room;
    const messages = flow.run(() => this.#open(answer, caller, readRequest(encoded), room));
    this.#messages = messages;
    for (;;) {
      await flow.pause(() => !this.#ended);
      if (this.#ended) return;
      if (taken === "message" || (taken === "call" && !room.isHeld)) await room.enter();
      const next = await this.#next(messages);
      if (this.#ended || next.done === true) return;
      await this.#identifyAgain(caller);
      if (this.#ended) return;
      await this.#write(next.value, room, flow);
    }
  }

  async #next(messages: AsyncIterator<Response>): Promise<IteratorResult<Response>> {
    this.#isReading = true;
    try {
      return await messages.next();
    } finally {
      this.#isReading = false;
      if (this.#ended) this.#leaveRoom();
    }
  }

  /** Not while the handler still works: many that leave at once would all begin. */
  #leaveRoom(): void {
    if (!this.#isReading) this.#room?.leave();
  }

  #open(
    answer: StreamAnswer<Request, Response>,
    caller: Caller,
    request: Request,
    room: Room,
  ): AsyncIterator<Response> {
    const { metadata } = this.#stream;
    const { signal } = this.#abort;
    const call = {
      signal,
      room,
      deadlineMs: this.#deadlineMs,
      replyBytesMax: replyBytesMaxOf(metadata, this.#rpc.replyBytesMax),
      metadata: recordMetadata(metadata, this.#requestId),
    };
    return answer(caller, request, call)[Symbol.asyncIterator]();
  }

  #identify(): Promise<Caller> {
    return identifyCaller(this.#rpc, this.#path, this.#stream, () => !this.#ended);
  }

  /** Asked for every message: a token expires and a principal changes while a stream lives. */
  async #identifyAgain({ principal, tenant, level }: Caller): Promise<void> {
    const now = await this.#identify();
    if (now.principal === principal && now.tenant === tenant && now.level === level) return;
    const rule = "the principal has another tenant or level than when the call began; call again";
    fail({ kind: "unauthenticated", reason: "PRINCIPAL_REVOKED", rule });
  }

  /** Resolves when the message has passed flow control, or the stream is gone: then `cancelled` says so. */
  #write(message: Response, room: ReplyRoom, flow: Flow): Promise<void> {
    return new Promise((resolve) => {
      const written = (): void => {
        room.read();
        resolve();
      };
      flow.run(() => this.#stream.write(message, written));
      room.sent(message as object, (fault) => this.#breakOff(fault));
    });
  }

  /** A caller that does not read gets no trailers either. */
  #breakOff(fault: SigilFault): void {
    this.#fail(fault);
    streamOf(this.#stream).close(constants.NGHTTP2_CANCEL);
  }

  #drain(): void {
    this.#fail(new SigilFault({ kind: "notServing", rule: "the server is stopping" }));
  }

  #succeed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.end(trailersOf(this.#requestId));
    this.#finish(Code.OK, undefined);
  }

  #fail(thrown: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const status = statusOf(thrown, occurrenceOf(this.#rpc, this.#path, this.#requestId));
    this.#stream.emit("error", serviceErrorOf(status, this.#requestId));
    this.#finish(status.code, thrown);
  }

  /** grpc-js says "cancelled" when the caller leaves and when its deadline passes, and has answered it already. */
  #cancelled(): void {
    if (this.#ended) return;
    this.#ended = true;
    const isLate = isTimeUp(this.#stream.getDeadline(), this.#rpc.nowMs());
    if (isLate) this.#finish(Code.DEADLINE_EXCEEDED, this.#late());
    else this.#finish(Code.CANCELLED, new SigilFault({ kind: "cancelled" }));
  }

  #finish(code: number, thrown: unknown): void {
    clearTimeout(this.#timer);
    this.#forgetDrain();
    // Whoever works for the call learns why it ended.
    this.#abort.abort(thrown);
    this.#leaveRoom();
    this.#givePlaceBack();
    // Not awaited: an iterable that is waiting for its own next value answers later, or never.
    void this.#close().catch(() => {});
    const ended = { path: this.#path, requestId: this.#requestId, code, thrown };
    recordEnd(this.#rpc, { ...ended, elapsedMs: this.#rpc.monotonicMs() - this.#startMs });
    this.#rpc.underWay.leave();
  }

  async #close(): Promise<void> {
    await this.#messages?.return?.();
  }
}

export const serverStreaming =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: StreamAnswer<Request, Response>,
  ): handleServerStreamingCall<Request, Response> =>
  (stream) => {
    void new ServerStreamCall(rpc, path, stream).run(answer);
  };
