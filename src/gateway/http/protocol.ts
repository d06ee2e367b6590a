/** Another protocol than the contracts' routes that is served on the same port, at paths of its own. Types only. */
import type { Metadata } from "@grpc/grpc-js";
import type { HttpRequest, HttpResponse } from "./call.ts";

export type Arrived = {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  /** Encoded, without its query. */
  readonly path: string;
  readonly metadata: Metadata;
  /** As logs and records have it. */
  readonly requestId: string;
};

export type Protocol = {
  readonly takes: (path: string) => boolean;
  /** Answers whatever becomes of it. Never rejects. */
  readonly serve: (arrived: Arrived) => Promise<void>;
};
