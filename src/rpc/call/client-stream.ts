/**
 * Client streams: the messages as they come, one answer. A message is taken only when the handler asks for it, so that
 * a caller is read no faster than it is served. Has a deadline as unary calls have.
 */
import type { handleClientStreamingCall } from "@grpc/grpc-js";
import { SigilFault } from "../../errors.ts";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { releaseRequest } from "../bounds/intake.ts";
import { boundedTime, Call } from "./call.ts";
import { readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";
import type { Flow } from "./pacing.ts";

/** A handler's own part. Need not read to the end. */
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
    yield flow.run(() => readRequest(request));
    // Whoever asks for the next is done with this one, or has counted what it keeps of it.
    releaseRequest(request);
  }
  // A caller that left ends its messages too: what came is not all there was to come.
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
    // Whoever still waits for a message waits no longer.
    call.signal.addEventListener("abort", () => void stream.destroy(), { once: true });
    void call.run(async (caller, flow) => {
      const response = await answer(caller, requestsOf<Request>(stream, call, flow), call.context());
      call.succeed((trailers) => callback(null, response, trailers));
    });
  };
