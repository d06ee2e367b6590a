/**
 * @sigil/client: the generated stubs of every service and a thin face over them. Messages and enums stand here by
 * name; the whole generated modules, with their service definitions, under `trustV1`, `auditV1`, `canonV1`,
 * `witnessV1`, `identityV1`, `backupV1`, `keyV1`, `moduleV1`, `typeV1` and `rpcV1`.
 */
export { connect } from "./connect.ts";
export type {
  AuditClient,
  BackupClient,
  CanonClient,
  ConnectOptions,
  KeyClient,
  ModuleClient,
  PrincipalClient,
  SigilConnection,
  TrustClient,
  WitnessClient,
} from "./connect.ts";
export type { CallOptions } from "./call.ts";
export { SigilError } from "./error.ts";
export type { FieldViolation } from "./error.ts";
export type { ServingStatus } from "./health.ts";
export type { Pem, TlsOptions } from "./target.ts";
export { principalRecord, principalRecordId } from "./principal.ts";
export type { PrincipalRecord, PrincipalRecordOptions } from "./principal.ts";
export { createTokenSigner, keyThumbprint } from "./token.ts";
export { KeyWalk, ProofError, walkKeys } from "./walk.ts";
export type { LedgerRecord, RecordEvidence, VerifiedRecord, VerifiedTree, WalkedKey } from "./walk.ts";
export type { TokenSigner, TokenSignerOptions } from "./token.ts";

export { CanonicalRecord, LevelOfAccess, Link, Space, Verdict } from "./generated/sigil/type/v1/type.ts";
export {
  levelOfAccessFromJSON,
  levelOfAccessToJSON,
  spaceFromJSON,
  spaceToJSON,
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
  GetConsistencyProofRequest,
  GetConsistencyProofResponse,
  GetInclusionProofRequest,
  GetInclusionProofResponse,
  GetFrozenChainRequest,
  GetFrozenChainResponse,
  ModelRows,
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
export {
  Attestation,
  AttestationRole,
  AttestProposalRequest,
  AttestProposalResponse,
  BatchWriteRecordsRequest,
  BatchWriteRecordsResponse,
  CanonServiceClient,
  CanonServiceService,
  CommitProposalRequest,
  CommitProposalResponse,
  GetProposalRequest,
  GetProposalResponse,
  GetRecordRequest,
  GetRecordResponse,
  GetSystemRecordRequest,
  GetSystemRecordResponse,
  Heartbeat,
  ListHistoryRequest,
  ListHistoryResponse,
  ListProposalsRequest,
  ListProposalsResponse,
  ListRecordsRequest,
  ListRecordsResponse,
  Proposal,
  ProposalState,
  ProposeRecordRequest,
  ProposeRecordResponse,
  RecordFilter,
  RecordView,
  StreamRecordsRequest,
  StreamRecordsResponse,
  VersionedRecord,
  WatchRequest,
  WatchResponse,
  WithdrawProposalRequest,
  WithdrawProposalResponse,
  WriteRecordRequest,
  WriteRecordResponse,
} from "./generated/sigil/canon/v1/canon.ts";
export {
  attestationRoleFromJSON,
  attestationRoleToJSON,
  proposalStateFromJSON,
  proposalStateToJSON,
  recordViewFromJSON,
  recordViewToJSON,
} from "./generated/sigil/canon/v1/canon.ts";
export type { CanonServiceServer } from "./generated/sigil/canon/v1/canon.ts";
export {
  AddWitness,
  ChangeQuorum,
  GetQuorumRequest,
  GetQuorumResponse,
  ListWitnessesRequest,
  ListWitnessesResponse,
  ProposeWitnessChangeRequest,
  ProposeWitnessChangeResponse,
  Quorum,
  RemoveWitness,
  ReplaceWitnessKey,
  Witness,
  WitnessServiceClient,
  WitnessServiceService,
} from "./generated/sigil/canon/v1/witness.ts";
export {
  BackupEnd,
  BackupHead,
  BackupRequest,
  BackupResponse,
  BackupServiceClient,
  BackupServiceService,
  InspectEnd,
  InspectErased,
  InspectFinding,
  InspectHead,
  InspectionStep,
  InspectProgress,
  InspectRequest,
  InspectResponse,
} from "./generated/sigil/backup/v1/backup.ts";
export type { BackupServiceServer } from "./generated/sigil/backup/v1/backup.ts";
export type { WitnessServiceServer } from "./generated/sigil/canon/v1/witness.ts";
export {
  Enrolment,
  GetPrincipalRequest,
  GetPrincipalResponse,
  ListPrincipalsRequest,
  ListPrincipalsResponse,
  Principal,
  PrincipalKey,
  PrincipalServiceClient,
  PrincipalServiceService,
  SuspendPrincipalRequest,
  SuspendPrincipalResponse,
  Suspension,
} from "./generated/sigil/identity/v1/principal.ts";
export type { PrincipalServiceServer } from "./generated/sigil/identity/v1/principal.ts";
export {
  DataKey,
  DataKeyState,
  KeyRecord,
  KeyRole,
  KeyServiceClient,
  KeyServiceService,
  KeyState,
  ListDataKeysRequest,
  ListDataKeysResponse,
  ListKeyRecordsRequest,
  ListKeyRecordsResponse,
  ListKeysRequest,
  ListKeysResponse,
  RetireKeyRequest,
  RetireKeyResponse,
  RotateDataKeyRequest,
  RotateDataKeyResponse,
  RotateKeyRequest,
  RotateKeyResponse,
  SigningKey,
} from "./generated/sigil/key/v1/key.ts";
export type { KeyServiceServer } from "./generated/sigil/key/v1/key.ts";
export {
  GetModuleRequest,
  GetModuleResponse,
  ListModulesRequest,
  ListModulesResponse,
  Module,
  ModuleLimits,
  ModuleManifest,
  ModuleServiceClient,
  ModuleServiceService,
  ProposeModuleRequest,
  ProposeModuleResponse,
  RetireModuleRequest,
  RetireModuleResponse,
  RunLimits,
  RunRequest,
  RunResponse,
  RunStreamRequest,
  RunStreamResponse,
  RunUsage,
} from "./generated/sigil/module/v1/module.ts";
export type { ModuleServiceServer } from "./generated/sigil/module/v1/module.ts";

export * as trustV1 from "./generated/sigil/trust/v1/trust.ts";
export * as auditV1 from "./generated/sigil/audit/v1/audit.ts";
export * as canonV1 from "./generated/sigil/canon/v1/canon.ts";
export * as witnessV1 from "./generated/sigil/canon/v1/witness.ts";
export * as backupV1 from "./generated/sigil/backup/v1/backup.ts";
export * as identityV1 from "./generated/sigil/identity/v1/principal.ts";
export * as keyV1 from "./generated/sigil/key/v1/key.ts";
export * as moduleV1 from "./generated/sigil/module/v1/module.ts";
export * as typeV1 from "./generated/sigil/type/v1/type.ts";
export * as rpcV1 from "./generated/google/rpc/status.ts";
