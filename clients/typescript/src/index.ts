/**
 * @sigil/client: the generated stubs of every service and a thin face over them. Messages and enums stand here by
 * name; the whole generated modules, with their service definitions, under `trustV1`, `auditV1`, `typeV1` and `rpcV1`.
 */
export { connect } from "./connect.ts";
export type { AuditClient, ConnectOptions, SigilConnection, TrustClient } from "./connect.ts";
export type { CallOptions } from "./call.ts";
export { SigilError } from "./error.ts";
export type { FieldViolation } from "./error.ts";
export type { ServingStatus } from "./health.ts";
export type { Pem, TlsOptions } from "./target.ts";
export { createTokenSigner, keyThumbprint } from "./token.ts";
export type { TokenSigner, TokenSignerOptions } from "./token.ts";

export { CanonicalRecord, LevelOfAccess, Link, Space, Verdict } from "./generated/sigil/type/v1/type.ts";
export {
  levelOfAccessFromJSON,
  levelOfAccessToJSON,
  verdictFromJSON,
  verdictToJSON,
} from "./generated/sigil/type/v1/type.ts";
export {
  ActionRule,
  BatchCheckRequest,
  BatchCheckResponse,
  BatchCheckResult,
  CheckRequest,
  CheckResponse,
  Contribution,
  GetActiveModelRequest,
  GetActiveModelResponse,
  ReviewBand,
  SimulatedDecision,
  SimulateRequest,
  SimulateResponse,
  StreamChecksRequest,
  StreamChecksResponse,
  TrustModel,
  TrustServiceClient,
  TrustServiceService,
} from "./generated/sigil/trust/v1/trust.ts";
export type { TrustServiceServer } from "./generated/sigil/trust/v1/trust.ts";
export {
  AuditServiceClient,
  AuditServiceService,
  FrozenChain,
  GetCheckpointRequest,
  GetCheckpointResponse,
  GetFrozenChainRequest,
  GetFrozenChainResponse,
  ListFrozenChainsRequest,
  ListFrozenChainsResponse,
  ListOrder,
  ReasoningStep,
  RecordedFeature,
  StepOutcome,
  VerificationStep,
  VerifyFrozenChainRequest,
  VerifyFrozenChainResponse,
} from "./generated/sigil/audit/v1/audit.ts";
export type { AuditServiceServer } from "./generated/sigil/audit/v1/audit.ts";

export * as trustV1 from "./generated/sigil/trust/v1/trust.ts";
export * as auditV1 from "./generated/sigil/audit/v1/audit.ts";
export * as typeV1 from "./generated/sigil/type/v1/type.ts";
export * as rpcV1 from "./generated/google/rpc/status.ts";
