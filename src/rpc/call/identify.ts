/**
 * Authentication and authorization of every kind of call: the caller, its origin, and whether its level may call this
 * RPC.
 */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import { anonymous, callerKey, type Caller } from "../../identity/caller.ts";
import { SigilFault } from "../../errors.ts";
import { callsUnderWayBesideOthersMax } from "../../limits.ts";
import { peerOf } from "../../identity/peer.ts";
import { credentialsOf } from "./context.ts";
import type { PaceProof } from "../../identity/tokens.ts";
import type { RpcEnvironment } from "./environment.ts";
import { lineOf } from "../bounds/line.ts";
import type { Flow } from "./pacing.ts";

/** grpc-js's peer name for a connection without an address. */
const noAddress = "unknown";

/** @param peer the address with port. */
const addressOf = (peer: string): string | undefined =>
  peer === noAddress ? undefined : peer.slice(0, peer.lastIndexOf(":"));

type Call = Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getAuthContext" | "getPeer">;

const peerIn = (call: Call): string => peerOf(addressOf(call.getPeer()));

/** The connection that a call came on. */
export const connectionOf = (call: object): object => lineOf(call).connection;

const keyOfPeer = (call: Call): string => callerKey({ ...anonymous, peer: peerIn(call) });

/** The flow charged with a call before its caller is known. */
export const flowOfPeer = ({ pacing }: Pick<RpcEnvironment, "pacing">, call: Call): Flow =>
  pacing.flowOf(keyOfPeer(call), connectionOf(call));

/** A separate flow for verification, so that a verified caller does not wait behind later tokens. */
const proofMark = "\u0002";

/**
 * Paces a new token: parsed in a turn of its peer, verified in a turn of the principal whose key signed it, one at a
 * time.
 */
const paceProofOf =
  ({ pacing }: RpcEnvironment, call: Call, isWanted: () => boolean): PaceProof =>
  async (signer, work) => {
    const flow = pacing.flowOf(`${proofMark}${signer ?? keyOfPeer(call)}`, connectionOf(call));
    const weight = signer === null ? 1 : callsUnderWayBesideOthersMax;
    await flow.enter(weight, isWanted);
    const startMs = pacing.nowMs();
    try {
      if (!isWanted()) throw new SigilFault({ kind: "cancelled" });
      return await work();
    } finally {
      flow.charge(pacing.nowMs() - startMs);
      flow.leave(weight);
    }
  };

/**
 * @param path the full path, `/package.Service/Method`. @param isWanted returns false once the call has ended.
 * @throws unauthenticated, levelTooLow; cancelled when the call has ended.
 */
export const identifyCaller = async (
  rpc: RpcEnvironment,
  path: string,
  call: Call,
  isWanted: () => boolean,
): Promise<Caller> => {
  const { identify, authorize, readsCertificates, connections } = rpc;
  const certificate = readsCertificates ? call.getAuthContext().sslPeerCertificate : undefined;
  const named = await identify(credentialsOf(call.metadata, certificate), paceProofOf(rpc, call, isWanted));
  const caller = named.credential === "none" ? { ...named, peer: peerIn(call) } : named;
  if (caller.credential !== "none") connections.prove(connectionOf(call));
  authorize(caller, path);
  return caller;
};
