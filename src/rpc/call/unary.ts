/** Unary calls: one request, one answer, in its caller's turn, and with room for it where it may be long. */
import type { sendUnaryData } from "@grpc/grpc-js";
import { ModuleServiceService } from "@sigil/proto/sigil/module/v1/module";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { lineOf } from "../bounds/line.ts";
import { replyBytesOf } from "../bounds/reply-bytes.ts";
import { boundedTime, Call, inTurn, type GrpcCall } from "./call.ts";
import { bytesOf, readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";

/** A handler's own part. May throw or reject with anything. */
export type Answer<Request, Response> = (
  caller: Caller,
  request: Request,
  call: CallContext,
) => Promise<Response> | Response;

/** What a handler is registered as: called by grpc-js, or by whatever else makes such a call. */
export type UnaryHandler<Request, Response> = (
  call: GrpcCall & { readonly request: Request },
  callback: sendUnaryData<Response>,
) => void;

/** Runs of modules last long elsewhere and are bounded there: a caller's checks do not wait for them. */
const isLong = (path: string): boolean => path === ModuleServiceService.run.path;

export const unary =
  <Request, Response>(
    rpc: RpcEnvironment,
    path: string,
    answer: Answer<Request, Response>,
  ): UnaryHandler<Request, Response> =>
  (unaryCall, callback) => {
    const call = new Call(rpc, path, unaryCall, { allowed: boundedTime(rpc), refuse: callback });
    void call.run(async (caller, flow) => {
      const long = replyBytesOf(path);
      const room =
        long &&
        call.roomOf(
          caller,
          flow.run(() => long.bytes(() => bytesOf(unaryCall.request))),
        );
      await room?.enter();
      const turn = { weight: isLong(path) ? 0 : 1, isWanted: call.isWanted };
      const response = await inTurn(flow, rpc.pacing.nowMs, turn, (pace) =>
        call.work(() => answer(caller, readRequest(unaryCall.request), { ...call.contextOfReply(), pace })),
      );
      call.succeed((trailers) => {
        callback(null, response, trailers);
        // Kept until the answer has left: the transport says "cancelled" then.
        room?.sent(response as object, () => lineOf(unaryCall).breakOff());
      });
    });
  };
