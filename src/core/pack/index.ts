/** Exports of evidence packs: their files, and their verification. Pure. */
export { columnsOf, formatTableRow, tableHead, type PackDecision } from "./columns.ts";
export {
  ControlCount,
  controlsHead,
  formatCountedControls,
  parseControls,
  type Control,
} from "./controls.ts";
export {
  formatCallerLine,
  formatDecisionLine,
  formatRecordLine,
  linesOf,
  parseDecisionLine,
  parseRecordLine,
  type CallerLine,
  type RecordLine,
} from "./lines.ts";
export {
  formatManifest,
  manifestName,
  type PackFile,
  type PackFileName,
  type PackGap,
  type PackManifest,
} from "./manifest.ts";
export type { PackReader } from "./reading.ts";
export { packSteps, type PackStep } from "./steps.ts";
export { Tally, decisionsClaimed, inOrder } from "./tally.ts";
export { SparseTree } from "./tree.ts";
export { verifyPack, type PackFindings, type PackProgress, type PackVerdict } from "./verify.ts";
