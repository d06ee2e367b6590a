/**
 * Maps errors to what callers see: a gRPC code, a message and google.rpc details. Unknown and internal errors become
 * INTERNAL with an incident id; their cause is logged. At most a few hundred bytes, so that the trailers fit every
 * client's limit.
 */
import { Metadata, status as Code, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";
import type { Any } from "@sigil/proto/google/protobuf/any";
import { describeError, SigilFault, type SigilError } from "../errors.ts";

/** Facts by their public names; undefined ones are omitted. */
type Facts = Readonly<Record<string, string | number | bigint | undefined>>;

type Violation = { readonly field: string; readonly description: string };

/** What callers see of one kind: only what its row names. */
type Row<Failure> = {
  readonly code: Code;
  /** The `ErrorInfo.reason`; for kinds with several, the error's own. */
  readonly reason: string | ((error: Failure) => string);
  readonly facts: (error: Failure) => Facts;
  /** The field that breaks a rule. */
  readonly field?: (error: Failure) => Violation;
  /** Milliseconds after which a retry makes sense. */
  readonly retryMs?: number;
};

type Rows = {
  readonly [Kind in SigilError["kind"]]: Row<Extract<SigilError, { readonly kind: Kind }>>;
};

const noFacts = (): Facts => ({});

const ownReason = ({ reason }: { readonly reason: string }): string => reason;

const ownField = ({ field, rule }: { readonly field: string; readonly rule: string }): Violation => ({
  field,
  description: rule,
});

/** For errors about one field that do not name it. */
const fieldOf =
  (field: string) =>
  ({ rule }: { readonly rule: string }): Violation => ({ field, description: rule });

type OfRun = Partial<Record<"module" | "auditId" | "run" | "wanted" | "found", string>>;

const ofRun = ({ module, auditId, run, wanted, found }: OfRun): Facts => ({
  module,
  audit_id: auditId,
  run_id: run,
  wanted_digest: wanted,
  found_digest: found,
});

/** Internal errors: callers cannot cause or fix these, and they name paths. */
const inside = { code: Code.INTERNAL, reason: "INTERNAL", facts: noFacts } as const;

const ROWS: Rows = {
  malformedCbor: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_CBOR",
    facts: ({ offset }) => ({ offset }),
  },
  unencodableValue: {
    code: Code.INVALID_ARGUMENT,
    reason: "UNENCODABLE_VALUE",
    facts: ({ path }) => ({ path }),
    field: ({ path, rule }) => ({ field: "payload", description: `at "${path}" ${rule}` }),
  },
  malformedCose: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_COSE",
    facts: noFacts,
    field: fieldOf("statement"),
  },
  malformedRecord: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_RECORD",
    facts: ({ field }) => ({ field }),
    field: ownField,
  },
  malformedKey: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_KEY",
    facts: noFacts,
    field: fieldOf("public_key"),
  },
  malformedCheckpoint: { code: Code.INVALID_ARGUMENT, reason: "MALFORMED_CHECKPOINT", facts: noFacts },
  malformedModel: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_MODEL",
    facts: ({ field }) => ({ field }),
    field: ownField,
  },
  malformedModule: {
    code: Code.INVALID_ARGUMENT,
    reason: "MALFORMED_MODULE",
    facts: ({ offset }) => ({ offset }),
  },
  invalidField: {
    code: Code.INVALID_ARGUMENT,
    reason: "INVALID_FIELD",
    facts: ({ field }) => ({ field }),
    field: ownField,
  },
  invalidPageToken: {
    code: Code.INVALID_ARGUMENT,
    reason: "INVALID_PAGE_TOKEN",
    facts: noFacts,
    field: fieldOf("page_token"),
  },
  tooLarge: {
    code: Code.INVALID_ARGUMENT,
    reason: "TOO_LARGE",
    facts: ({ what, bytes, limit }) => ({ what, bytes, limit }),
  },
  leafOutOfRange: {
    code: Code.OUT_OF_RANGE,
    reason: "LEAF_OUT_OF_RANGE",
    facts: ({ leafIndex, treeSize }) => ({ leaf_index: leafIndex, tree_size: treeSize }),
  },
  sizeOutOfRange: {
    code: Code.OUT_OF_RANGE,
    reason: "SIZE_OUT_OF_RANGE",
    facts: ({ size, treeSize }) => ({ size, tree_size: treeSize }),
  },
  notFound: { code: Code.NOT_FOUND, reason: "NOT_FOUND", facts: ({ what, id }) => ({ what, id }) },
  recordCorrupt: {
    code: Code.DATA_LOSS,
    reason: "RECORD_CORRUPT",
    facts: ({ position, step, id }) => ({ position, step, id }),
  },
  ledgerCorrupt: {
    code: Code.DATA_LOSS,
    reason: "LEDGER_CORRUPT",
    facts: ({ position }) => ({ position }),
  },
  ledgerBehindAnchor: {
    code: Code.DATA_LOSS,
    reason: "LEDGER_BEHIND_ANCHOR",
    facts: ({ size, anchorSize }) => ({ size, anchor_size: anchorSize }),
  },
  ledgerBehindWitness: inside,
  // Without step and rule, which name paths and keys of the store.
  storeFailed: { code: Code.UNAVAILABLE, reason: "STORE_FAILED", facts: noFacts, retryMs: 1000 },
  indeterminate: { code: Code.UNAVAILABLE, reason: "INDETERMINATE", facts: noFacts, retryMs: 1000 },
  notServing: { code: Code.UNAVAILABLE, reason: "NOT_SERVING", facts: noFacts, retryMs: 1000 },
  notCosigned: {
    code: Code.UNAVAILABLE,
    reason: "NOT_COSIGNED",
    facts: ({ missing, waitMs }) => ({ missing, wait_ms: waitMs }),
    retryMs: 1000,
  },
  queueFull: {
    code: Code.RESOURCE_EXHAUSTED,
    reason: "QUEUE_FULL",
    facts: ({ what, limit }) => ({ what, limit }),
    retryMs: 200,
  },
  overQuota: { code: Code.RESOURCE_EXHAUSTED, reason: ownReason, facts: ({ limit }) => ({ limit }) },
  cancelled: { code: Code.CANCELLED, reason: "CANCELLED", facts: noFacts },
  deadlineExceeded: {
    code: Code.DEADLINE_EXCEEDED,
    reason: "DEADLINE_EXCEEDED",
    facts: ({ deadlineMs }) => ({ deadline_ms: deadlineMs }),
  },
  idempotencyConflict: {
    code: Code.ALREADY_EXISTS,
    reason: "IDEMPOTENCY_CONFLICT",
    facts: ({ key }) => ({ key }),
  },
  staleVersion: {
    code: Code.ABORTED,
    reason: "STALE_VERSION",
    facts: ({ id, version }) => ({ id, version }),
  },
  unauthenticated: { code: Code.UNAUTHENTICATED, reason: ownReason, facts: noFacts },
  levelTooLow: {
    code: Code.PERMISSION_DENIED,
    reason: "LEVEL_TOO_LOW",
    facts: ({ rpc, needed, actual }) => ({ rpc, needed, actual }),
  },
  tenantForbidden: {
    code: Code.PERMISSION_DENIED,
    reason: "TENANT_FORBIDDEN",
    facts: ({ tenant }) => ({ tenant }),
  },
  feedForbidden: {
    code: Code.PERMISSION_DENIED,
    reason: "FEED_NOT_GRANTED",
    facts: ({ field, value }) => ({ field, value }),
  },
  denied: {
    code: Code.PERMISSION_DENIED,
    reason: "DENIED",
    facts: ({ action, target, verdict, why, auditId, run }) => ({
      action,
      target,
      verdict,
      decision_reason: why,
      audit_id: auditId,
      run_id: run,
    }),
  },
  moduleRefused: { code: Code.FAILED_PRECONDITION, reason: ownReason, facts: ofRun },
  moduleAltered: { code: Code.DATA_LOSS, reason: "MODULE_ALTERED", facts: ofRun },
  // Not retryable: the same code traps again on the same input.
  runTrapped: { code: Code.FAILED_PRECONDITION, reason: "RUN_TRAPPED", facts: ofRun },
  runLimit: {
    code: Code.RESOURCE_EXHAUSTED,
    reason: ownReason,
    facts: (error) => ({ limit: error.limit, ...ofRun(error) }),
  },
  runTimedOut: {
    code: Code.DEADLINE_EXCEEDED,
    reason: "RUN_TIMED_OUT",
    facts: (error) => ({ limit_ms: error.limitMs, ...ofRun(error) }),
  },
  runCrashed: { code: Code.UNAVAILABLE, reason: "RUN_CRASHED", facts: ofRun },
  runsBusy: {
    code: Code.RESOURCE_EXHAUSTED,
    reason: "RUNS_BUSY",
    facts: (error) => ({ what: error.what, limit: error.limit, ...ofRun(error) }),
    retryMs: 200,
  },
  quorumNeeded: { code: Code.PERMISSION_DENIED, reason: "QUORUM_NEEDED", facts: ({ what }) => ({ what }) },
  quorumShort: {
    code: Code.PERMISSION_DENIED,
    reason: "QUORUM_SHORT",
    facts: ({ proposal, needed }) => ({ proposal, needed }),
  },
  proposalEnded: {
    code: Code.FAILED_PRECONDITION,
    reason: ownReason,
    facts: ({ proposal, outcome }) => ({ proposal, outcome }),
  },
  attestationForged: { code: Code.PERMISSION_DENIED, reason: ownReason, facts: noFacts },
  attestationRepeated: { code: Code.ALREADY_EXISTS, reason: ownReason, facts: noFacts },
  attestationRefused: { code: Code.FAILED_PRECONDITION, reason: ownReason, facts: noFacts },
  suspensionRefused: { code: Code.FAILED_PRECONDITION, reason: ownReason, facts: noFacts },
  erased: {
    code: Code.FAILED_PRECONDITION,
    reason: "ERASED",
    facts: ({ tenant, erasure, erasurePosition }) => ({
      tenant,
      erasure,
      erasure_position: erasurePosition,
    }),
  },
  modelMissing: { code: Code.FAILED_PRECONDITION, reason: "MODEL_MISSING", facts: noFacts },
  keyUnavailable: { code: Code.FAILED_PRECONDITION, reason: "KEY_UNAVAILABLE", facts: noFacts },
  checkpointUnsigned: {
    code: Code.FAILED_PRECONDITION,
    reason: "CHECKPOINT_UNSIGNED",
    facts: ({ size, storedSize }) => ({ size, stored_size: storedSize }),
  },
  keyReplaced: {
    code: Code.ABORTED,
    reason: "KEY_REPLACED",
    facts: ({ role, current }) => ({ role, current }),
  },
  storeLocked: inside,
  tokenUnavailable: inside,
  wrongKeyEncryptionKey: inside,
  looseMode: inside,
  foreignOwner: inside,
  directoryNotEmpty: inside,
  notInitialised: inside,
  newerFormat: inside,
  olderFormat: inside,
  invalidConfig: inside,
  backupRefused: inside,
  usage: inside,
};

/** The row of an error's kind. */
const rowOf = (error: SigilError): Row<SigilError> => ROWS[error.kind] as Row<SigilError>;

const domain = "sigil";
const messageCharactersMax = 512;
const metadataCharactersMax = 128;

/** Context of a call for its errors. */
export type Occurrence = {
  readonly requestId: string;
  /** Called for errors that callers may not see; returns the incident id shown instead. */
  readonly report: (cause: unknown) => string;
};

/** Truncates, and replaces lone surrogates, on which gRPC's percent-encoding throws. */
const bounded = (text: string, charactersMax: number): string =>
  text.length <= charactersMax ? text.toWellFormed() : `${text.slice(0, charactersMax - 1).toWellFormed()}…`;

const sentFacts = (facts: Facts): Record<string, string> =>
  Object.fromEntries(
    Object.entries(facts).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, bounded(String(value), metadataCharactersMax)]],
    ),
  );

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

const badRequest = ({ field, description }: Violation): Any => {
  const fieldViolations = [{ field, description: bounded(description, messageCharactersMax) }];
  return packed("BadRequest", BadRequest.encode({ fieldViolations }).finish());
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

/** Converts anything thrown to the status that a caller sees, also inside batches and streams. Never OK. */
export const statusOf = (thrown: unknown, occurrence: Occurrence): Status => {
  if (!(thrown instanceof SigilFault)) return incidentStatus(thrown, occurrence);
  const { error } = thrown;
  const { code, reason, facts, field, retryMs } = rowOf(error);
  if (code === Code.INTERNAL) return incidentStatus(thrown, occurrence);
  const named = typeof reason === "string" ? reason : reason(error);
  const details = [errorInfo(named, sentFacts(facts(error))), requestInfo(occurrence.requestId)];
  if (field !== undefined) details.push(badRequest(field(error)));
  if (retryMs !== undefined) details.push(retryInfo(retryMs));
  return { code, message: bounded(publicMessage(error), messageCharactersMax), details };
};

/** A grpc-js error with the status's details in the trailers. */
export const serviceErrorOf = (status: Status, requestId: string): ServiceError => {
  const metadata = new Metadata();
  metadata.set("x-request-id", requestId);
  metadata.set("grpc-status-details-bin", Buffer.from(Status.encode(status).finish()));
  return Object.assign(new Error(status.message), { code: status.code, details: status.message, metadata });
};
