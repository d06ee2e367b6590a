/**
 * Server streams. A handler gives an async iterable, of which one message is taken at a time and only when the one
 * before has left for the socket: a caller that does not read stops the handler, and nothing is held but that one
 * message. Has no deadline but the caller's.
 */
import type { Metadata } from "@grpc/grpc-js";
import { fail, SigilFault } from "../../errors.ts";
import type { CallContext, Caller, Room } from "../../identity/caller.ts";
import { lineOf } from "../bounds/line.ts";
import { replyBytesOf, type ReplyBytes } from "../bounds/reply-bytes.ts";
import { Call, callersTime, type GrpcCall } from "./call.ts";
import { bytesOf, readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";

export type StreamContext = CallContext & {
  /**
   * Of RPCs whose handlers take their room themselves: before they read, and given back while they wait for something
   * to read.
   */
  readonly room: Room;
};

/** A handler's own part. Its iterable should end when the call's signal aborts; its `return` is called then as well. */
export type StreamAnswer<Request, Response> = (
  caller: Caller,
  request: Request,
  call: StreamContext,
) => AsyncIterable<Response>;

/** What a handler is registered as: called by grpc-js, or by whatever else makes such a call. */
export type StreamHandler<Request, Response> = (
  call: GrpcCall & {
    readonly request: Request;
    /** Calls back when the message has passed flow control, or cannot any more. */
    readonly write: (message: Response, written: () => void) => unknown;
    readonly end: (trailers: Metadata) => unknown;
    readonly emit: (event: "error", error: Error) => boolean;
  },
) => void;

const short: ReplyBytes = { bytes: () => 0, taken: "handler" };

/** @throws unauthenticated when the caller is not who began the call. */
const requireSame = (now: Caller, { principal, tenant, level, feed }: Caller): void => {
  const isSame = now.principal === principal && now.tenant === tenant && now.level === level;
  if (isSame && now.feed?.position === feed?.position) return;
  const rule = "the principal has another tenant, level or feed grant than when the call began; call again";
  fail({ kind: "unauthenticated", reason: "PRINCIPAL_REVOKED", rule });
};

/** Not awaited: an iterable that is waiting for its own next value answers later, or never. */
const close = async (messages: AsyncIterator<unknown>): Promise<void> => {
  try {
    await messages.return?.();
  } catch {
    // The call has ended, and nobody is to be told.
  }
};

export const serverStreaming =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: StreamAnswer<Request, Response>,
  ): StreamHandler<Request, Response> =>
  (stream) => {
    const { streams: places } = rpc;
    const refuse = (error: Error): void => void stream.emit("error", error);
    const call = new Call(rpc, path, stream, { allowed: callersTime, places, refuse });
    call.onDrain(() => call.fail(new SigilFault({ kind: "notServing", rule: "the server is stopping" })));
    void call.run(async (caller, flow) => {
      const { bytes, taken } = replyBytesOf(path) ?? short;
      const room = call.roomOf(
        caller,
        flow.run(() => bytes(() => bytesOf(stream.request))),
      );
      const messages = flow.run(() =>
        answer(caller, readRequest(stream.request, flow), { ...call.contextOfReply(), room })[
          Symbol.asyncIterator
        ](),
      );
      call.atEnd(() => void close(messages));
      /** A caller that does not read gets no trailers either. */
      const breakOff = (fault: SigilFault): void => {
        call.fail(fault);
        lineOf(stream).breakOff();
      };
      /** Resolves when the message has passed flow control, or the stream is gone: then "cancelled" says so. */
      const write = (message: Response): Promise<void> =>
        new Promise((resolve) => {
          const written = (): void => {
            room.read();
            resolve();
          };
          flow.run(() => stream.write(message, written));
          room.sent(message as object, breakOff);
        });
      for (;;) {
        await flow.pause(call.isWanted);
        if (!call.isWanted()) return;
        if (taken === "message" || (taken === "call" && !room.isHeld)) await room.enter();
        const next = await call.work(() => messages.next());
        if (!call.isWanted()) return;
        if (next.done === true) break;
        requireSame(await call.identify(), caller);
        if (!call.isWanted()) return;
        await write(next.value);
      }
      call.succeed((trailers) => stream.end(trailers));
    });
  };
