/**
 * The error of a failed call: the gRPC code with decoded google.rpc details. Undecodable details are omitted; code and
 * message are always set.
 */
import { status as Code, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";

/** One field of the request and the rule it breaks. */
export type FieldViolation = { readonly field: string; readonly description: string };

type Details = {
  readonly reason: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryDelayMs: number | undefined;
  readonly requestId: string | undefined;
};

const noDetails: Details = {
  reason: "",
  facts: {},
  fieldViolations: [],
  retryDelayMs: undefined,
  requestId: undefined,
};

const typeUrlPrefix = /^.*\//;

const withDetail = (details: Details, typeUrl: string, value: Uint8Array): Details => {
  switch (typeUrl.replace(typeUrlPrefix, "")) {
    case "google.rpc.ErrorInfo": {
      const { reason, metadata: facts } = ErrorInfo.decode(value);
      return { ...details, reason, facts };
    }
    case "google.rpc.BadRequest":
      return { ...details, fieldViolations: BadRequest.decode(value).fieldViolations };
    case "google.rpc.RetryInfo": {
      const { retryDelay } = RetryInfo.decode(value);
      if (retryDelay === undefined) return details;
      return { ...details, retryDelayMs: Number(retryDelay.seconds) * 1000 + retryDelay.nanos / 1e6 };
    }
    case "google.rpc.RequestInfo":
      return { ...details, requestId: RequestInfo.decode(value).requestId };
    default:
      return details;
  }
};

const readDetails = (status: Status): Details => {
  try {
    return status.details.reduce((all, { typeUrl, value }) => withDetail(all, typeUrl, value), noDetails);
  } catch {
    return noDetails;
  }
};

/** A call, or one item of a batch or stream, that got no decision. Treat it as a deny. */
export class SigilError extends Error {
  /** The gRPC status code. */
  readonly code: number;
  /** Its name, for example "PERMISSION_DENIED". */
  readonly codeName: string;
  /** The stable reason to switch on, for example "TOKEN_EXPIRED"; empty if the server gave none. */
  readonly reason: string;
  /** Facts about this occurrence, for example the required level. */
  readonly facts: Readonly<Record<string, string>>;
  /** Fields of the request that break a rule. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Minimum time to wait before a retry; undefined if a retry is not suggested. */
  readonly retryDelayMs: number | undefined;
  /** The request's id in the server's log. */
  readonly requestId: string | undefined;

  constructor(code: number, message: string, details: Partial<Details> = {}, options?: ErrorOptions) {
    const codeName = Code[code] ?? `CODE_${code}`;
    super(`${codeName}: ${message}`, options);
    this.name = "SigilError";
    this.code = code;
    this.codeName = codeName;
    const { reason, facts, fieldViolations, retryDelayMs, requestId } = { ...noDetails, ...details };
    this.reason = reason;
    this.facts = facts;
    this.fieldViolations = fieldViolations;
    this.retryDelayMs = retryDelayMs;
    this.requestId = requestId;
  }

  /** From an item of a batch or stream, `{ $case: "error", value }`. */
  static fromStatus(status: Status): SigilError {
    return new SigilError(status.code, status.message, readDetails(status));
  }

  /** From anything that a call may throw. */
  static from(thrown: unknown): SigilError {
    if (thrown instanceof SigilError) return thrown;
    if (!isServiceError(thrown)) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      return new SigilError(Code.UNKNOWN, message, {}, { cause: thrown });
    }
    return new SigilError(thrown.code, thrown.details, detailsOf(thrown.metadata), { cause: thrown });
  }
}

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;

const detailsOf = (trailers: Metadata | undefined): Details => {
  const requestId = requestIdOf(trailers);
  const packed = trailers?.get("grpc-status-details-bin")[0];
  if (!(packed instanceof Uint8Array)) return { ...noDetails, requestId };
  try {
    const details = readDetails(Status.decode(packed));
    return { ...details, requestId: details.requestId ?? requestId };
  } catch {
    return { ...noDetails, requestId };
  }
};

const requestIdOf = (trailers: Metadata | undefined): string | undefined => {
  const value = trailers?.get("x-request-id")[0];
  return typeof value === "string" ? value : undefined;
};
