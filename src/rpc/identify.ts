/** The one door of every kind of call: who is calling, from where, and whether that level may call this RPC. */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import type { Caller } from "../identity/caller.ts";
import { peerOf } from "../identity/peer.ts";
import { credentialsOf } from "./context.ts";
import { streamOf } from "./insides.ts";
import type { RpcEnvironment } from "./environment.ts";

/** What grpc-js says where a connection has no address. */
const noAddress = "unknown";

/** @param peer the address and the port after it. */
const addressOf = (peer: string): string | undefined =>
  peer === noAddress ? undefined : peer.slice(0, peer.lastIndexOf(":"));

/** @param path the full path, `/package.Service/Method`. @throws unauthenticated, levelTooLow. */
export const identifyCaller = async (
  { identify, authorize, readsCertificates, connections }: RpcEnvironment,
  path: string,
  call: Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getAuthContext" | "getPeer">,
): Promise<Caller> => {
  const certificate = readsCertificates ? call.getAuthContext().sslPeerCertificate : undefined;
  const named = await identify(credentialsOf(call.metadata, certificate));
  const caller = named.credential === "none" ? { ...named, peer: peerOf(addressOf(call.getPeer())) } : named;
  if (caller.credential !== "none") connections.prove(streamOf(call).session);
  authorize(caller, path);
  return caller;
};
