/** Unary calls: one request, one answer, paced by caller, with reply budget if the answer may be long. */
import type { sendUnaryData } from "@grpc/grpc-js";
import { ModuleServiceService } from "@sigil/proto/sigil/module/v1/module";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { lineOf } from "../bounds/line.ts";
import { replyBytesOf } from "../bounds/reply-bytes.ts";
import { boundedTime, Call, inTurn, type GrpcCall } from "./call.ts";
import { bytesOf, readRequest } from "./decode.ts";
import type { RpcEnvironment } from "./environment.ts";

/** The handler. May throw or reject with anything. */
export type Answer<Request, Response> = (
  caller: Caller,
  request: Request,
  call: CallContext,
) => Promise<Response> | Response;

/** A registered handler, called by grpc-js or another transport. */
export type UnaryHandler<Request, Response> = (
  call: GrpcCall & { readonly request: Request },
  callback: sendUnaryData<Response>,
) => void;

/** Module runs take long in other processes and have their own limits, so a caller's checks do not wait for them. */
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
      const bytes = long === undefined ? 0 : flow.run(() => long.bytes(() => bytesOf(unaryCall.request)));
      const room = bytes === 0 ? undefined : call.roomOf(caller, bytes);
      await room?.enter();
      const turn = { weight: isLong(path) ? 0 : 1, isWanted: call.isWanted };
      const response = await inTurn(flow, rpc.pacing.nowMs, turn, (pace) =>
        call.work(() =>
          answer(caller, readRequest(unaryCall.request, flow), { ...call.contextOfReply(), pace }),
        ),
      );
      call.succeed((trailers) => {
        callback(null, response, trailers);
        // Held until the answer has been sent, when the transport emits "cancelled".
        room?.sent(response as object, () => lineOf(unaryCall).breakOff());
      });
    });
  };
