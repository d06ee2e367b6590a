/**
 * The baseline: a no-op grpc-js server that decodes a `Check` and answers with a reply of the same size, with the real
 * server's transport settings that affect time.
 */
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { CheckResponse, TrustServiceService, type CheckRequest } from "@sigil/client";
import { actorInput, answerParent } from "./actor.ts";

const reply = CheckResponse.fromJSON(actorInput<unknown>());
const server = new Server({ "grpc.enable_channelz": 0 });
server.addService(TrustServiceService, {
  check: (_call: ServerUnaryCall<CheckRequest, CheckResponse>, callback: sendUnaryData<CheckResponse>) =>
    callback(null, reply),
});
const { promise, resolve, reject } = Promise.withResolvers<number>();
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
  error === null ? resolve(port) : reject(error),
);
const target = `127.0.0.1:${await promise}`;

answerParent({ target: () => target }, async () => server.forceShutdown());
