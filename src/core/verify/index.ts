/** Exports for opening and verifying records, checkpoints and key rings. Pure. */
export { walkKeys, type KeyRecord, type WalkedKeys } from "./key-walk.ts";
export { verifyReceipt, verifyTlogProof, type Inclusion } from "./receipt.ts";
export {
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
