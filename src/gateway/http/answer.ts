/** Answers: what stands around every one of them, and how a reply or an error becomes one. */
import { toJsonString, fromBinary, type DescMessage, type FileRegistry } from "@bufbuild/protobuf";
import type { HttpRequest, HttpResponse } from "./call.ts";
import type { Problem } from "./problem.ts";

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined where there is none. */
  readonly text: string | undefined;
};

/** @param reply its bytes, as gRPC would send them. */
export const jsonReply = (type: DescMessage, reply: Uint8Array, registry: FileRegistry): Answer => ({
  status: 200,
  headers: { "content-type": "application/json" },
  // What is false, zero or empty is said too: `allowed` is read by people.
  text: toJsonString(type, fromBinary(type, reply), { registry, alwaysEmitImplicit: true }),
});

/** @param denies whether whoever reads the body might look for `allowed` in it. */
export const problemAnswer = ({ status, headers, members }: Problem, denies: boolean): Answer => ({
  status,
  headers: { ...headers, "content-type": "application/problem+json" },
  text: JSON.stringify(denies ? { ...members, allowed: false } : members),
});

/** What HTTP/2 has no header for: its streams end by themselves. */
const connectionHeader = "connection";

export const send = (
  request: HttpRequest,
  response: HttpResponse,
  { status, headers, text }: Answer,
  { requestId, isLast }: { readonly requestId: string; readonly isLast: boolean },
): void => {
  const isHttp1 = request.httpVersionMajor === 1;
  const { [connectionHeader]: asked, ...others } = headers;
  response.writeHead(status, {
    ...others,
    ...(isHttp1 && (isLast || asked !== undefined) ? { [connectionHeader]: "close" } : {}),
    ...(text === undefined ? {} : { "content-length": Buffer.byteLength(text) }),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-request-id": requestId,
  });
  response.end(text ?? "");
};
