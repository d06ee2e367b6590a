/**
 * The one mapping from what went wrong to what a caller sees: a gRPC code, a sentence and google.rpc details. An error
 * that is not in the union, or that speaks of the server's insides, becomes INTERNAL with an incident id; its cause goes
 * to the log. At most a few hundred bytes, so that the trailers pass every client's limit.
 */
import { Metadata, status as Code, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";
import type { Any } from "@sigil/proto/google/protobuf/any";
import { describeError, SigilFault, type SigilError } from "../errors.ts";

const STATUS = {
  malformedCbor: Code.INVALID_ARGUMENT,
  unencodableValue: Code.INVALID_ARGUMENT,
  malformedCose: Code.INVALID_ARGUMENT,
  malformedRecord: Code.INVALID_ARGUMENT,
  malformedKey: Code.INVALID_ARGUMENT,
  malformedCheckpoint: Code.INVALID_ARGUMENT,
  malformedModel: Code.INVALID_ARGUMENT,
  malformedModule: Code.INVALID_ARGUMENT,
  invalidField: Code.INVALID_ARGUMENT,
  invalidPageToken: Code.INVALID_ARGUMENT,
  tooLarge: Code.INVALID_ARGUMENT,
  leafOutOfRange: Code.OUT_OF_RANGE,
  sizeOutOfRange: Code.OUT_OF_RANGE,
  notFound: Code.NOT_FOUND,
  recordCorrupt: Code.DATA_LOSS,
  ledgerCorrupt: Code.DATA_LOSS,
  ledgerBehindAnchor: Code.DATA_LOSS,
  storeFailed: Code.UNAVAILABLE,
  indeterminate: Code.UNAVAILABLE,
  notServing: Code.UNAVAILABLE,
  queueFull: Code.RESOURCE_EXHAUSTED,
  overQuota: Code.RESOURCE_EXHAUSTED,
  cancelled: Code.CANCELLED,
  deadlineExceeded: Code.DEADLINE_EXCEEDED,
  idempotencyConflict: Code.ALREADY_EXISTS,
  staleVersion: Code.ABORTED,
  unauthenticated: Code.UNAUTHENTICATED,
  levelTooLow: Code.PERMISSION_DENIED,
  tenantForbidden: Code.PERMISSION_DENIED,
  denied: Code.PERMISSION_DENIED,
  moduleRefused: Code.FAILED_PRECONDITION,
  moduleAltered: Code.DATA_LOSS,
  // The same code on the same input traps again: nothing to retry.
  runTrapped: Code.FAILED_PRECONDITION,
  runLimit: Code.RESOURCE_EXHAUSTED,
  runTimedOut: Code.DEADLINE_EXCEEDED,
  runCrashed: Code.UNAVAILABLE,
  runsBusy: Code.RESOURCE_EXHAUSTED,
  quorumNeeded: Code.PERMISSION_DENIED,
  quorumShort: Code.PERMISSION_DENIED,
  proposalEnded: Code.FAILED_PRECONDITION,
  attestationForged: Code.PERMISSION_DENIED,
  attestationRepeated: Code.ALREADY_EXISTS,
  attestationRefused: Code.FAILED_PRECONDITION,
  suspensionRefused: Code.FAILED_PRECONDITION,
  erased: Code.FAILED_PRECONDITION,
  modelMissing: Code.FAILED_PRECONDITION,
  keyUnavailable: Code.FAILED_PRECONDITION,
  keyReplaced: Code.ABORTED,
  // The server's insides: no caller can cause or mend these, and they name paths.
  storeLocked: Code.INTERNAL,
  tokenUnavailable: Code.INTERNAL,
  wrongKeyEncryptionKey: Code.INTERNAL,
  looseMode: Code.INTERNAL,
  foreignOwner: Code.INTERNAL,
  directoryNotEmpty: Code.INTERNAL,
  notInitialised: Code.INTERNAL,
  newerFormat: Code.INTERNAL,
  olderFormat: Code.INTERNAL,
  invalidConfig: Code.INTERNAL,
  backupRefused: Code.INTERNAL,
  usage: Code.INTERNAL,
} satisfies Record<SigilError["kind"], Code>;

/** Milliseconds after which a repeat is worth trying. */
const RETRY_MS: Partial<Record<SigilError["kind"], number>> = {
  queueFull: 200,
  runsBusy: 200,
  notServing: 1000,
  indeterminate: 1000,
  storeFailed: 1000,
};

const domain = "sigil";
const messageCharactersMax = 512;
const metadataCharactersMax = 128;

/** What a call's error needs to know of the call. */
export type Occurrence = {
  readonly requestId: string;
  /** Called for errors that callers may not see; gives the incident id they see instead. */
  readonly report: (cause: unknown) => string;
};

/** gRPC percent-encodes the message and throws on a lone surrogate. */
const bounded = (text: string, charactersMax: number): string =>
  text.length <= charactersMax ? text.toWellFormed() : `${text.slice(0, charactersMax - 1).toWellFormed()}…`;

const upperSnake = (kind: string): string => kind.replace(/[A-Z]/g, "_$&").toUpperCase();

const reasonOf = (error: SigilError): string => ("reason" in error ? error.reason : upperSnake(error.kind));

/** Facts that callers know by another name than the server does. */
const FACT_NAMES: Readonly<Record<string, string>> = {
  why: "decision_reason",
  run: "run_id",
  wanted: "wanted_digest",
  found: "found_digest",
};

/** Numbers and names of the error; not its rule, which is the message. */
const factsOf = (error: SigilError): Record<string, string> => {
  if (error.kind === "storeFailed") return {};
  const facts: Record<string, string> = {};
  for (const [name, value] of Object.entries(error)) {
    if (name === "kind" || name === "rule" || name === "reason" || value === undefined) continue;
    facts[FACT_NAMES[name] ?? upperSnake(name).toLowerCase()] = bounded(String(value), metadataCharactersMax);
  }
  return facts;
};

const packed = (typeName: string, value: Uint8Array): Any => ({
  typeUrl: `type.googleapis.com/google.rpc.${typeName}`,
  value,
});

const errorInfo = (reason: string, metadata: Record<string, string>): Any =>
  packed("ErrorInfo", ErrorInfo.encode({ reason, domain, metadata }).finish());

const retryInfo = (delayMs: number): Any => {
  const retryDelay = { seconds: BigInt(Math.floor(delayMs / 1000)), nanos: (delayMs % 1000) * 1_000_000 };
  return packed("RetryInfo", RetryInfo.encode({ retryDelay }).finish());
};

const violation = (field: string, description: string): Any => {
  const fieldViolations = [{ field, description: bounded(description, messageCharactersMax) }];
  return packed("BadRequest", BadRequest.encode({ fieldViolations }).finish());
};

/** The field that breaks a rule, where the error itself does not say. */
const FIELDS: Partial<Record<SigilError["kind"], string>> = {
  invalidPageToken: "page_token",
  malformedKey: "public_key",
  malformedCose: "statement",
};

const badRequest = (error: SigilError): Any | undefined => {
  if (error.kind === "unencodableValue") return violation("payload", `at "${error.path}" ${error.rule}`);
  const field = FIELDS[error.kind] ?? ("field" in error ? error.field : undefined);
  return field === undefined || !("rule" in error) ? undefined : violation(field, error.rule);
};

const publicMessage = (error: SigilError): string =>
  error.kind === "storeFailed" ? "the store failed; the server is checking itself" : describeError(error);

const requestInfo = (requestId: string): Any =>
  packed("RequestInfo", RequestInfo.encode({ requestId, servingData: "" }).finish());

const incidentStatus = (cause: unknown, { requestId, report }: Occurrence): Status => {
  const incident = report(cause);
  return {
    code: Code.INTERNAL,
    message: `internal error, incident ${incident}`,
    details: [errorInfo("INTERNAL", { incident }), requestInfo(requestId)],
  };
};

/** Anything thrown, as the status a caller sees; also inside batches and streams. Never OK. */
export const statusOf = (thrown: unknown, occurrence: Occurrence): Status => {
  if (!(thrown instanceof SigilFault) || STATUS[thrown.error.kind] === Code.INTERNAL) {
    return incidentStatus(thrown, occurrence);
  }
  const { error } = thrown;
  const details = [errorInfo(reasonOf(error), factsOf(error)), requestInfo(occurrence.requestId)];
  const bad = badRequest(error);
  if (bad !== undefined) details.push(bad);
  const retryMs = RETRY_MS[error.kind];
  if (retryMs !== undefined) details.push(retryInfo(retryMs));
  return { code: STATUS[error.kind], message: bounded(publicMessage(error), messageCharactersMax), details };
};

/** A status as grpc-js sends it, with the details in the trailers. */
export const serviceErrorOf = (status: Status, requestId: string): ServiceError => {
  const metadata = new Metadata();
  metadata.set("x-request-id", requestId);
  metadata.set("grpc-status-details-bin", Buffer.from(Status.encode(status).finish()));
  return Object.assign(new Error(status.message), { code: status.code, details: status.message, metadata });
};
