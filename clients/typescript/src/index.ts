/**
 * @sigil/client: the generated stubs of every service and a thin wrapper. Messages and enums are exported by name; the
 * complete generated modules, with their service definitions, as `trustV1`, `auditV1`, `canonV1`, `witnessV1`,
 * `identityV1`, `backupV1`, `keyV1`, `moduleV1`, `typeV1` and `rpcV1`.
 */
export { connect } from "./connect.ts";
export type { ConnectOptions, SigilConnection } from "./connect.ts";
export type { AuditClient } from "./services/audit.ts";
export type { CanonClient, WitnessClient } from "./services/canon.ts";
export type { BackupClient, KeyClient, ModuleClient, PrincipalClient } from "./services/operation.ts";
export type { TrustClient } from "./services/trust.ts";
export type { RetryOptions } from "./retry/plan.ts";
export { isAway, whileAway } from "./retry/while-away.ts";
export type { Patience } from "./retry/while-away.ts";
export type { CallOptions } from "./call.ts";
export { Decision } from "./guard/decision.ts";
export { DeniedError } from "./guard/denied.ts";
export type { Check, Question } from "./guard/question.ts";
export type { Guard, Guarding, Part, Rule } from "./guard/rule.ts";
export { SigilError } from "./error.ts";
export type { FieldViolation } from "./error.ts";
export type { ServingStatus } from "./health.ts";
export type { Pem, TlsOptions } from "./target.ts";
export { principalRecord, principalRecordId } from "./principal.ts";
export type { PrincipalRecord, PrincipalRecordOptions } from "./principal.ts";
export { createTokenSigner, keyThumbprint } from "./token.ts";
export { CallerNumberError, memoryNumbers } from "./remember.ts";
export type { CallerNumber, NumberGap, NumberStore, RememberOptions } from "./remember.ts";
export { fileNumbers, readNumberFile } from "./number-file.ts";
export type { NumberedCaller, RememberedNumber } from "./number-file.ts";
export { signAttestation } from "./attest.ts";
export type { Attest, AttestOptions } from "./attest.ts";
export type { DecisionQuery, FollowOptions, FollowQuery } from "./audit/decisions.ts";
export { ModuleRun } from "./module/run.ts";
export type { Run, RunQuestion } from "./module/run.ts";
export { readEvidence } from "./evidence.ts";
export { verify } from "./verify/verify.ts";
export type { RecordToVerify, Trust, VerifiedEvidence } from "./verify/verify.ts";
export type { Genesis } from "./verify/genesis.ts";
export { verifyDecision, type DecisionToVerify } from "./proven-decision.ts";
export { ForkError, KeyWalk, ProofError, walkKeys } from "./walk.ts";
export type {
  LedgerRecord,
  RecordEvidence,
  SignedTree,
  VerifiedInclusion,
  VerifiedRecord,
  VerifiedTree,
  WalkedKey,
} from "./walk.ts";
export { watchVerified } from "./watch.ts";
export type { WatchOptions } from "./watch/resume.ts";
export type { RebuiltTree, VerifiedEvent, VerifiedWatchOptions } from "./watch.ts";
export type { TokenSigner, TokenSignerOptions } from "./token.ts";

export {
  CanonicalRecord,
  LevelOfAccess,
  Link,
  RecordProof,
  Space,
  Verdict,
} from "@sigil/proto/sigil/type/v1/type";
export {
  levelOfAccessFromJSON,
  levelOfAccessToJSON,
  recordProofFromJSON,
  recordProofToJSON,
  spaceFromJSON,
  spaceToJSON,
  verdictFromJSON,
  verdictToJSON,
} from "@sigil/proto/sigil/type/v1/type";
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
} from "@sigil/proto/sigil/trust/v1/trust";
export type { TrustServiceServer } from "@sigil/proto/sigil/trust/v1/trust";
export {
  AuditServiceClient,
  AuditServiceService,
  FrozenChain,
  GetCheckpointRequest,
  GetCheckpointResponse,
  CompletenessEnd,
  NumberedRecord,
  ProveCompletenessRequest,
  ProveCompletenessResponse,
  GetConsistencyProofRequest,
  GetConsistencyProofResponse,
  GetEvidenceRequest,
  GetEvidenceResponse,
  GetTileRequest,
  GetTileResponse,
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
  ReplayDecisionRequest,
  ReplayDecisionResponse,
  ReplayedScalar,
  ReplayedValue,
  ReplayOutcome,
  StepOutcome,
  VerificationStep,
  VerifyFrozenChainRequest,
  VerifyFrozenChainResponse,
} from "@sigil/proto/sigil/audit/v1/audit";
export type { AuditServiceServer } from "@sigil/proto/sigil/audit/v1/audit";
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
  ErasedRecord,
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
} from "@sigil/proto/sigil/canon/v1/canon";
export {
  attestationRoleFromJSON,
  attestationRoleToJSON,
  proposalStateFromJSON,
  proposalStateToJSON,
  recordViewFromJSON,
  recordViewToJSON,
} from "@sigil/proto/sigil/canon/v1/canon";
export type { CanonServiceServer } from "@sigil/proto/sigil/canon/v1/canon";
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
} from "@sigil/proto/sigil/canon/v1/witness";
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
} from "@sigil/proto/sigil/backup/v1/backup";
export type { BackupServiceServer } from "@sigil/proto/sigil/backup/v1/backup";
export type { WitnessServiceServer } from "@sigil/proto/sigil/canon/v1/witness";
export {
  Enrolment,
  FeedGrant,
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
  WithdrawFeedGrantRequest,
  WithdrawFeedGrantResponse,
} from "@sigil/proto/sigil/identity/v1/principal";
export type { PrincipalServiceServer } from "@sigil/proto/sigil/identity/v1/principal";
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
} from "@sigil/proto/sigil/key/v1/key";
export type { KeyServiceServer } from "@sigil/proto/sigil/key/v1/key";
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
} from "@sigil/proto/sigil/module/v1/module";
export type { ModuleServiceServer } from "@sigil/proto/sigil/module/v1/module";

export * as trustV1 from "@sigil/proto/sigil/trust/v1/trust";
export * as auditV1 from "@sigil/proto/sigil/audit/v1/audit";
export * as canonV1 from "@sigil/proto/sigil/canon/v1/canon";
export * as witnessV1 from "@sigil/proto/sigil/canon/v1/witness";
export * as backupV1 from "@sigil/proto/sigil/backup/v1/backup";
export * as identityV1 from "@sigil/proto/sigil/identity/v1/principal";
export * as keyV1 from "@sigil/proto/sigil/key/v1/key";
export * as moduleV1 from "@sigil/proto/sigil/module/v1/module";
export * as typeV1 from "@sigil/proto/sigil/type/v1/type";
export * as rpcV1 from "@sigil/proto/google/rpc/status";
