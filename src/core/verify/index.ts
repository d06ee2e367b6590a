/** Exports for opening and verifying records, checkpoints, key rings and evidence files. Pure. */
export { type Evidence, type ProvenRecord, formatEvidence, parseEvidence } from "./evidence-file.ts";
export {
  type EvidenceRecord,
  type EvidenceStep,
  type EvidenceVerdict,
  evidenceSteps,
  verifyEvidence,
} from "./evidence.ts";
export type { EvidenceTrust } from "./grounds.ts";
export { walkKeys, type KeyRecord, type WalkedKeys } from "./key-walk.ts";
export { verifyReceipt, verifyTlogProof, type Inclusion } from "./receipt.ts";
export {
  inStep,
  leafOf,
  openRecord,
  readRecord,
  recordSteps,
  requireInclusion,
  requireSignature,
  signerOf,
  verifySigned,
  type OpenedRecord,
  type RecordStep,
} from "./record.ts";
