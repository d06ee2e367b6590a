/** Dependencies of handlers: authentication, authorization and observers. Types only. */
import type { Caller } from "../../identity/caller.ts";
import type { IdentityResolver } from "../../identity/resolver.ts";
import type { Connections } from "../bounds/connections.ts";
import type { DeadlineRules } from "./context.ts";
import type { Pacing } from "./pacing.ts";
import type { Places } from "../bounds/places.ts";
import type { Replies } from "../bounds/replies.ts";
import type { CallsUnderWay } from "./underway.ts";

/** A structured log line; fields are names and numbers, never payloads or credentials. */
export type Log = {
  isLevelEnabled(level: string): boolean;
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

export type RpcObserver = {
  /** A call has ended. */
  onCall(path: string, code: number, elapsedMs: number): void;
  /** A call was refused because a limit was reached. */
  onRefused(bound: string): void;
};

export type RpcEnvironment = {
  /** The deployment's origin, which principals' SPIFFE ids name. */
  readonly trustDomain: string;
  /** @throws unauthenticated. */
  readonly identify: IdentityResolver["identify"];
  /** @throws levelTooLow. */
  readonly authorize: (caller: Caller, rpcPath: string) => void;
  readonly deadlines: DeadlineRules;
  /** Calls slower than this are logged. */
  readonly slowCallMs: number;
  /** Whether the transport requests client certificates; reading one is expensive. */
  readonly readsCertificates: boolean;
  /** The largest reply sent, in bytes; default `messageBytesMax`. */
  readonly replyBytesMax?: number;
  readonly underWay: CallsUnderWay;
  readonly pacing: Pacing;
  /** Connections of authenticated callers are marked, so that they are not evicted. */
  readonly connections: Pick<Connections, "prove">;
  readonly replies: Replies;
  readonly streams: Places;
  readonly uploads: Places;
  readonly observer: RpcObserver;
  readonly log: Log;
  readonly newId: () => string;
  /** The clock of grpc-js deadlines. */
  readonly nowMs: () => number;
  /** For durations. */
  readonly monotonicMs: () => number;
};
