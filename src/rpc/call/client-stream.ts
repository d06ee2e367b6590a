/**
 * Client streams: a stream of messages, one answer. A message is read only when the handler asks for it (backpressure).
 * Deadlines are as for unary calls.
 */
import type { handleClientStreamingCall } from "@grpc/grpc-js";
import { SigilFault } from "../../errors.ts";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { releaseRequest } from "../bounds/intake.ts";
import { boundedTime, Call } from "./call.ts";
import { readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";
import type { Flow } from "./pacing.ts";

/** The handler. Need not read to the end. */
export type UploadAnswer<Request, Response> = (
  caller: Caller,
  requests: AsyncIterable<Request>,
  call: CallContext,
) => Promise<Response>;

async function* requestsOf<Request>(
  stream: AsyncIterable<Request>,
  call: Call,
  flow: Flow,
): AsyncGenerator<Request, void, undefined> {
  for await (const request of stream) {
    await flow.pause(call.isWanted);
    if (!call.isWanted()) throw new SigilFault({ kind: "cancelled" });
    yield flow.run(() => readRequest(request, flow));
    // A handler that asks for the next message is done with this one, or accounts for it itself.
    releaseRequest(request);
  }
  // Cancellation also ends the messages: what was received may be incomplete.
  if (!(await call.isWhole())) throw new SigilFault({ kind: "cancelled" });
}

export const clientStreaming =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: UploadAnswer<Request, Response>,
  ): handleClientStreamingCall<Request, Response> =>
  (stream, callback) => {
    const { uploads: places } = rpc;
    const call = new Call(rpc, path, stream, { allowed: boundedTime(rpc), places, refuse: callback });
    // Releases a reader that waits for a message.
    call.signal.addEventListener("abort", () => void stream.destroy(), { once: true });
    void call.run(async (caller, flow) => {
      const response = await answer(caller, requestsOf<Request>(stream, call, flow), call.context());
      call.succeed((trailers) => callback(null, response, trailers));
    });
  };
