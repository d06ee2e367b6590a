/** Exports of the trust model and its recomputation. Pure. */
export {
  type ActionRule,
  FEATURES,
  type Features,
  type Observation,
  gatherFeatures,
  lookUpFeatures,
  rateFraction,
} from "./features.ts";
export { type GlobTable, compileGlob, globFault } from "./glob.ts";
export { canonicalModel, withCanonicalGlobs } from "./model-spelling.ts";
export { type Evaluation, type TrustModel, evaluate, parseModel } from "./model.ts";
export { recompute, replay, type Replay, type ReplayedValue } from "./recompute.ts";
export { rowsFor } from "./rows.ts";
export type { FaultReason, Verdict } from "./verdict.ts";
