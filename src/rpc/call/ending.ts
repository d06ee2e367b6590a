/** The common end of every call: status, metrics, log line, and incident id. */
import { Metadata, status as Code } from "@grpc/grpc-js";
import { describeError, SigilFault } from "../../errors.ts";
import { requestIdKey } from "./context.ts";
import type { RpcEnvironment } from "./environment.ts";
import type { Occurrence } from "../status.ts";

/** Logs an error that callers may not see, under an incident id. */
export const occurrenceOf = (
  rpc: Pick<RpcEnvironment, "newId" | "log">,
  path: string,
  requestId: string,
): Occurrence => ({
  requestId,
  report: (cause) => {
    const incident = rpc.newId();
    rpc.log.error({ incident, rpc: path, request_id: requestId, err: cause }, "unexpected error");
    return incident;
  },
});

export const trailersOf = (requestId: string): Metadata => {
  const trailers = new Metadata();
  trailers.set(requestIdKey, requestId);
  return trailers;
};

export type Ended = {
  readonly path: string;
  readonly requestId: string;
  readonly code: number;
  readonly elapsedMs: number;
  /** Undefined if it succeeded, or if grpc-js itself refused the request or could not send the answer. */
  readonly thrown: unknown;
};

const logEnded = ({ log, slowCallMs }: RpcEnvironment, ended: Ended): void => {
  const { path, requestId, code, elapsedMs, thrown } = ended;
  const fields = { rpc: path, request_id: requestId, code: Code[code], elapsed_ms: Math.round(elapsedMs) };
  if (thrown instanceof SigilFault && code !== Code.INTERNAL) {
    const { kind } = thrown.error;
    // Messages may quote the caller's input; stable reasons do not.
    const why = kind === "unauthenticated" ? { kind, reason: thrown.error.reason } : { kind };
    if (code === Code.DATA_LOSS)
      log.error({ ...fields, ...why, rule: describeError(thrown.error) }, "damage");
    else log.info({ ...fields, ...why }, "call failed");
  } else if (thrown === undefined && code !== Code.OK) {
    log.info(fields, "call failed");
  } else if (elapsedMs > slowCallMs) {
    log.info(fields, "slow call");
  } else {
    log.debug(fields, "call");
  }
};

/** Counts the call and logs it: failed or slow calls always, others at debug level. */
export const recordEnd = (rpc: RpcEnvironment, ended: Ended): void => {
  rpc.observer.onCall(ended.path, ended.code, ended.elapsedMs);
  if (ended.thrown instanceof SigilFault && ended.thrown.error.kind === "overQuota") {
    rpc.observer.onRefused(ended.thrown.error.reason);
  }
  const isFailed = ended.thrown !== undefined || ended.code !== Code.OK;
  if (isFailed || ended.elapsedMs > rpc.slowCallMs || rpc.log.isLevelEnabled("debug")) {
    logEnded(rpc, ended);
  }
};
