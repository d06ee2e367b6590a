/**
 * Errors as RFC 9457 has them. What a call of an RPC ends with is the status that gRPC sends, by one table; what HTTP
 * itself refuses stands in a second. Never a success.
 */
import { status as Code, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";

type Row = { readonly status: number; readonly title: string };

/** Source: google/rpc/code.proto, "HTTP Mapping"; ALREADY_EXISTS and ABORTED are both conflicts. */
const STATUS: Readonly<Record<Code, Row>> = {
  // Never sent as an error.
  [Code.OK]: { status: 500, title: "Internal error" },
  [Code.CANCELLED]: { status: 499, title: "Cancelled by its caller" },
  [Code.UNKNOWN]: { status: 500, title: "Internal error" },
  [Code.INVALID_ARGUMENT]: { status: 400, title: "Invalid request" },
  [Code.DEADLINE_EXCEEDED]: { status: 504, title: "Deadline exceeded" },
  [Code.NOT_FOUND]: { status: 404, title: "Not found" },
  [Code.ALREADY_EXISTS]: { status: 409, title: "Already exists" },
  [Code.PERMISSION_DENIED]: { status: 403, title: "Permission denied" },
  [Code.RESOURCE_EXHAUSTED]: { status: 429, title: "Too much at once" },
  [Code.FAILED_PRECONDITION]: { status: 400, title: "Failed precondition" },
  [Code.ABORTED]: { status: 409, title: "Aborted" },
  [Code.OUT_OF_RANGE]: { status: 400, title: "Out of range" },
  [Code.UNIMPLEMENTED]: { status: 501, title: "Not implemented" },
  [Code.INTERNAL]: { status: 500, title: "Internal error" },
  [Code.UNAVAILABLE]: { status: 503, title: "Unavailable" },
  [Code.DATA_LOSS]: { status: 500, title: "Data loss" },
  [Code.UNAUTHENTICATED]: { status: 401, title: "Unauthenticated" },
};

/** Of a gRPC code. */
export const httpStatusOf = (code: number): number => (STATUS[code as Code] ?? STATUS[Code.INTERNAL]).status;

/** What never becomes a call, by its reason. */
const REFUSED = {
  MALFORMED_TARGET: { status: 400, code: "INVALID_ARGUMENT", title: "Malformed request target" },
  PROXY_NOT_LISTED: { status: 403, code: "PERMISSION_DENIED", title: "No proxy that is believed" },
  NO_SUCH_ROUTE: { status: 404, code: "UNIMPLEMENTED", title: "No such route" },
  OTHER_METHOD: { status: 405, code: "UNIMPLEMENTED", title: "Served by another method" },
  NOT_ACCEPTABLE: { status: 406, code: "INVALID_ARGUMENT", title: "No such form of a stream" },
  BODY_TOO_SLOW: { status: 408, code: "DEADLINE_EXCEEDED", title: "The body came too slowly" },
  BODY_TOO_LARGE: { status: 413, code: "INVALID_ARGUMENT", title: "The body is too large" },
  NOT_JSON: { status: 415, code: "INVALID_ARGUMENT", title: "The body must be JSON" },
  HOST_NOT_LISTED: { status: 421, code: "PERMISSION_DENIED", title: "Not served under this name" },
} as const;

export type RefusedReason = keyof typeof REFUSED;

/** Every status of a problem, in ascending order, with the titles that it comes with. */
export const problemTitles: ReadonlyMap<number, readonly string[]> = (() => {
  const titles = new Map<number, readonly string[]>();
  for (const { status, title } of [...Object.values(STATUS), ...Object.values(REFUSED)].toSorted(
    (a, b) => a.status - b.status,
  )) {
    const before = titles.get(status) ?? [];
    if (!before.includes(title)) titles.set(status, [...before, title]);
  }
  return titles;
})();

/** A request that is refused before it is a call. */
export class Refused extends Error {
  readonly reason: RefusedReason;
  readonly headers: Readonly<Record<string, string>>;

  constructor(reason: RefusedReason, detail: string, headers: Readonly<Record<string, string>> = {}) {
    super(detail);
    this.reason = reason;
    this.headers = headers;
  }
}

/** An error that a call ended with, as gRPC would send it. */
export class CallFailed extends Error {
  readonly error: ServiceError;

  constructor(error: ServiceError) {
    super(error.details);
    this.error = error;
  }
}

export type Problem = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body; members as in docs/operating/http.md. */
  readonly members: Readonly<Record<string, unknown>>;
};

/** No registered namespace: the name is compared, never looked up. */
export const typeOf = (reason: string): string => `urn:sigil:problem:${reason}`;

export const refusedProblem = ({ reason, message, headers }: Refused, requestId: string): Problem => {
  const { status, code, title } = REFUSED[reason];
  return {
    status,
    headers,
    members: { type: typeOf(reason), title, status, detail: message, code, reason, requestId },
  };
};

type Details = {
  readonly reason?: string;
  readonly facts?: Readonly<Record<string, string>>;
  readonly violations?: readonly { readonly field: string; readonly description: string }[];
  readonly retryMs?: number;
};

const detailsOf = (error: ServiceError): Details => {
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  if (!(encoded instanceof Uint8Array)) return {};
  let details: Details = {};
  for (const { typeUrl, value } of Status.decode(encoded).details) {
    switch (typeUrl.slice(typeUrl.lastIndexOf(".") + 1)) {
      case "ErrorInfo": {
        const { reason, metadata: facts } = ErrorInfo.decode(value);
        details = { ...details, reason, facts };
        break;
      }
      case "BadRequest":
        details = { ...details, violations: BadRequest.decode(value).fieldViolations };
        break;
      case "RetryInfo": {
        const { seconds = 0n, nanos = 0 } = RetryInfo.decode(value).retryDelay ?? {};
        details = { ...details, retryMs: Number(seconds) * 1000 + nanos / 1_000_000 };
        break;
      }
      default:
    }
  }
  return details;
};

const headersOf = (status: number, retryMs: number | undefined): Record<string, string> => ({
  // RFC 9110 §15.5.2: a 401 says how to prove who one is.
  ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
  ...(retryMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryMs / 1000))) }),
});

/** @param error as gRPC would send it. */
export const problemOf = (error: ServiceError, requestId: string): Problem => {
  const { status, title } = STATUS[error.code] ?? STATUS[Code.INTERNAL];
  const { reason = "INTERNAL", facts = {}, violations, retryMs } = detailsOf(error);
  const members = {
    type: typeOf(reason),
    title,
    status,
    detail: error.details,
    code: Code[error.code] ?? "INTERNAL",
    reason,
    requestId,
    ...(Object.keys(facts).length === 0 ? {} : { facts }),
    ...(violations === undefined ? {} : { violations }),
  };
  return { status, headers: headersOf(status, retryMs), members };
};
