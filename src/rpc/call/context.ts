/**
 * Metadata of every call: request id, trace, credentials and deadline. Source: W3C Trace Context §3.2, gRPC over
 * HTTP/2. Reads metadata only.
 */
import type { Metadata } from "@grpc/grpc-js";
import { fail } from "../../errors.ts";
import type { Credentials } from "../../identity/resolver.ts";

/** Deadlines in milliseconds. */
export type DeadlineRules = { readonly deadlineMsDefault: number; readonly deadlineMsMax: number };

export const requestIdKey = "x-request-id";

const requestIdShape = /^[A-Za-z0-9._:~-]{1,128}$/;
const traceparentShape = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const traceparentBytes = 55;

const single = (metadata: Metadata, key: string): string | undefined => {
  const values = metadata.get(key);
  return values.length === 1 && typeof values[0] === "string" ? values[0] : undefined;
};

/** The caller's request id if it is safe for logs and records, else a new one. */
export const requestIdOf = (metadata: Metadata, newRequestId: () => string): string => {
  const given = single(metadata, requestIdKey);
  return given !== undefined && requestIdShape.test(given) ? given : newRequestId();
};

/** The caller's traceparent; undefined if absent or invalid. */
export const traceparentOf = (metadata: Metadata): string | undefined => {
  const given = single(metadata, "traceparent");
  const match = given === undefined ? null : traceparentShape.exec(given);
  if (match === null) return undefined;
  const [text, version, traceId, parentId, rest] = match;
  if (version === "ff" || /^0+$/.test(traceId ?? "0") || /^0+$/.test(parentId ?? "0")) return undefined;
  // Later versions may append fields.
  return version === "00" && rest !== undefined ? undefined : text.slice(0, traceparentBytes);
};

/** The call metadata stored in a decision's record. */
export const recordMetadata = (metadata: Metadata, requestId: string): Readonly<Record<string, string>> => {
  const traceparent = traceparentOf(metadata);
  return traceparent === undefined ? { request_id: requestId } : { request_id: requestId, traceparent };
};

/** @throws unauthenticated if more than one token is given, since it is ambiguous which to use. */
export const credentialsOf = (metadata: Metadata, certificate: Credentials["certificate"]): Credentials => {
  const given = metadata.get("authorization");
  if (given.length > 1) {
    fail({ kind: "unauthenticated", reason: "TOKEN_MALFORMED", rule: "give one authorization value" });
  }
  const authorization = given[0];
  return {
    ...(authorization === undefined ? {} : { authorization: String(authorization) }),
    ...(certificate === undefined ? {} : { certificate }),
  };
};

/** Milliseconds a call may take from now on, and whether the server must watch them itself. */
export type Allowed = { readonly deadlineMs: number; readonly enforced: boolean };

/** By the server's rules: grpc-js enforces the caller's own deadline on its own clock. */
export const allowedMs = (deadline: Date | number, nowMs: number, rules: DeadlineRules): Allowed => {
  const givenMs = Number(deadline) - nowMs;
  if (givenMs === Infinity) return { deadlineMs: rules.deadlineMsDefault, enforced: true };
  if (givenMs > rules.deadlineMsMax) return { deadlineMs: rules.deadlineMsMax, enforced: true };
  return { deadlineMs: Math.max(0, givenMs), enforced: false };
};

/** Transit time: a caller's deadline expires, and its cancellation may arrive, slightly before it expires here. */
const transitMs = 20;

/** Whether a cancellation was caused by the caller's deadline. */
export const isTimeUp = (deadline: Date | number, nowMs: number): boolean =>
  nowMs >= Number(deadline) - transitMs;
