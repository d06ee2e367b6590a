/** Exports of records, their kinds and their names. Pure. */
export { type Attestation, encodeAttestation } from "./attestation.ts";
export {
  callerHeadId,
  enrolPrincipal,
  enrolmentFault,
  feedGrantId,
  isEnrolledAs,
  principalRecordId,
} from "./enrolment.ts";
export { escaped, unseenCharacters, visibleText } from "./characters.ts";
export { EnvelopeDraft } from "./envelope-draft.ts";
export type { Disclosing, FeedBatch, FeedItem, PublishedRecord, ReadFeed } from "./feed.ts";
export {
  commitTo,
  digestValue,
  decodeDisclosed,
  encodeDisclosed,
  formatDisclosures,
  rawBytesOf,
  readDisclosures,
  saltBytes,
  type Digested,
  type Disclosures,
  type Opening,
} from "./commitment.ts";
export { anyMap, refuseField } from "./fields.ts";
export { flipReportId, flipReportLink, flipReportOf, modelDigest, readFlipReport } from "./flip-report.ts";
export {
  type AttestationRole,
  type ErasedPayload,
  type Flip,
  type FlipReportPayload,
  type FrozenVerdict,
  type ModulePayload,
  type ModuleRunLimits,
  type ModuleRunPayload,
  type ModuleRunUsage,
  type ProposalCommit,
  type ProposalOutcome,
  type ProposalPayload,
  type Rescoring,
  type RunEnd,
  type TrustModelPayload,
  type WitnessPayload,
  erasureFault,
  formatAttestationRecord,
  formatCallerHead,
  formatErased,
  formatFlipReport,
  formatGenesis,
  formatKeyRetirement,
  formatModule,
  formatModuleRun,
  formatPrincipal,
  formatProposal,
  formatProposalEnding,
  formatQuorum,
  formatRestoration,
  formatSigningKey,
  formatSuspension,
  formatTombstone,
  formatWitness,
  keyRoles,
  knownKinds,
  ownerName,
  roleKeyVersion,
  parseAttestationRecord,
  parseCallerHead,
  parseErased,
  parseErasure,
  parseModule,
  parseProposal,
  parseProposalEnding,
  parseTombstone,
  parseTrustModel,
  principalVersion,
  reasonShape,
} from "./kinds.ts";
export { parseSchema } from "./kinds/canon.ts";
export {
  allMark,
  formatFeedGrant,
  formatGranted,
  parseFeedGrant,
  type FeedGrantPayload,
  type Granted,
} from "./kinds/feed-grant.ts";
export { modelLabel, principalLabel, readDecision, reasoningSteps, suspensionLabel } from "./decision.ts";
export {
  type ChainPayload,
  type FrozenChainPayload,
  type FrozenRequest,
  formatFrozenChain,
} from "./kinds/frozen-chain.ts";
export { parseGenesis } from "./kinds/genesis.ts";
export {
  type AttributeValue,
  type PrincipalPayload,
  parsePrincipal,
  parseQuorum,
  parseWitness,
} from "./kinds/governance.ts";
export { parseSuspension } from "./kinds/suspension.ts";
export { readModuleRun } from "./run.ts";
export { type Level, isAtLeast, isLevel, levelFraction } from "./levels.ts";
export {
  type LevelName,
  type Space,
  levelNames,
  publicTenant,
  recordIdFault,
  systemTenant,
  tenantFault,
} from "./names.ts";
export {
  type RecordBody,
  type RecordLink,
  decodeBody,
  decodeEnvelope,
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  linkTo,
  parseRecordStatement,
  subjectOf,
} from "./record.ts";
export {
  canonicalAction,
  canonicalSession,
  canonicalSubject,
  canonicalTarget,
  canonicalTargetGlob,
  requireSpelling,
  spellingOr,
  type Spelling,
} from "./spelling.ts";
export type { StoredRecord } from "./stored.ts";
export {
  activeModelId,
  attestationPrefix,
  erasedPrefix,
  erasurePrefix,
  feedGrantPrefix,
  flipReportPrefix,
  genesisId,
  keyRetirementPrefix,
  keySuspensionPrefix,
  modelPrefix,
  modulePrefix,
  moduleRunPrefix,
  principalPrefix,
  proposalEndingPrefix,
  proposalPrefix,
  quorumId,
  restorationPrefix,
  schemaPrefix,
  signingKeyPrefix,
  suspensionPrefix,
  systemBody,
  witnessPrefix,
} from "./system.ts";
