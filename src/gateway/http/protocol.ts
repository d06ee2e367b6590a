/** Another protocol than the contracts' routes that is served on the same port, at paths of its own. Types only. */
import type { Metadata } from "@grpc/grpc-js";
import type { Answer } from "./answer.ts";
import type { HttpRequest, HttpResponse } from "./call.ts";
import type { Problem } from "./problem.ts";

export type Arrived = {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  /** Encoded, without its query. */
  readonly path: string;
  readonly metadata: Metadata;
  /** As logs and records have it. */
  readonly requestId: string;
  /** Read once at most, bounded as any. @throws Refused; overQuota; cancelled when its sender has gone. */
  readonly body: () => Promise<string>;
};

export type Protocol = {
  readonly takes: (path: string) => boolean;
  /** @throws Refused, CallFailed, or what a handler throws: then `problem` says how it is answered. */
  readonly answer: (arrived: Arrived) => Promise<Answer>;
  readonly problem: (problem: Problem) => Answer;
  /** The id that the answer has. */
  readonly answeredId: (request: HttpRequest, requestId: string) => string;
};
