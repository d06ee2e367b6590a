/** The one door of every kind of call: who is calling, and whether that level may call this RPC. */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import type { Caller } from "../identity/caller.ts";
import { credentialsOf } from "./context.ts";
import type { RpcEnvironment } from "./environment.ts";

/** @param path the full path, `/package.Service/Method`. @throws unauthenticated, levelTooLow. */
export const identifyCaller = async (
  { identify, authorize, readsCertificates }: RpcEnvironment,
  path: string,
  call: Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getAuthContext">,
): Promise<Caller> => {
  const certificate = readsCertificates ? call.getAuthContext().sslPeerCertificate : undefined;
  const caller = await identify(credentialsOf(call.metadata, certificate));
  authorize(caller, path);
  return caller;
};
