/** Answers: what stands around every one of them, and how a reply or an error becomes one. */
import { toJson, fromBinary, type DescMessage, type FileRegistry, type JsonObject } from "@bufbuild/protobuf";
import type { HttpRequest, HttpResponse } from "./call.ts";
import type { Problem } from "./problem.ts";

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Already encoded if it is the same for every caller; undefined for an empty body. */
  readonly text: string | Uint8Array | undefined;
};

/**
 * What is false, zero or empty is said too: `allowed` is read by people. @param reply its bytes, as gRPC would send
 * them.
 */
export const jsonOf = (type: DescMessage, reply: Uint8Array, registry: FileRegistry): JsonObject =>
  // Replies are messages without a JSON form of their own.
  toJson(type, fromBinary(type, reply), { registry, alwaysEmitImplicit: true }) as JsonObject;

export const jsonReply = (type: DescMessage, reply: Uint8Array, registry: FileRegistry): Answer => ({
  status: 200,
  headers: { "content-type": "application/json" },
  text: JSON.stringify(jsonOf(type, reply, registry)),
});

/** @param denies whether a client may read `allowed` from the body. */
export const problemAnswer = ({ status, headers, members }: Problem, denies: boolean): Answer => ({
  status,
  headers: { ...headers, "content-type": "application/problem+json" },
  text: JSON.stringify(denies ? { ...members, allowed: false } : members),
});

/** What HTTP/2 has no header for: its streams end by themselves. */
const connectionHeader = "connection";

type Sent = { readonly requestId: string; readonly isLast: boolean };

const headersOf = (
  request: HttpRequest,
  headers: Answer["headers"],
  { requestId, isLast }: Sent,
): Record<string, string | number> => {
  const { [connectionHeader]: asked, ...others } = headers;
  const isEnding = request.httpVersionMajor === 1 && (isLast || asked !== undefined);
  return {
    "cache-control": "no-store",
    ...others,
    ...(isEnding ? { [connectionHeader]: "close" } : {}),
    "x-content-type-options": "nosniff",
    "x-request-id": requestId,
  };
};

/** Of a stream, whose lines come one by one. A proxy that keeps them back would make it look dead. */
export const beginStream = (
  request: HttpRequest,
  response: HttpResponse,
  contentType: string,
  sent: Sent,
): void => {
  const headers = { "content-type": contentType, "x-accel-buffering": "no" };
  response.writeHead(200, headersOf(request, headers, sent));
};

export const send = (
  request: HttpRequest,
  response: HttpResponse,
  { status, headers, text }: Answer,
  sent: Sent,
): void => {
  response.writeHead(status, {
    ...headersOf(request, headers, sent),
    ...(text === undefined ? {} : { "content-length": Buffer.byteLength(text) }),
  });
  response.end(text ?? "");
};
