/** The steps in which a pack is verified. Pure. Source: docs/spec/pack.md §8. */
import type { Step } from "../verify/steps.ts";

/** In order. Those from `lines` to `disclosures` are taken together, record by record. */
export const packSteps = [
  "manifest",
  "files",
  "genesis",
  "keys",
  "lines",
  "signature",
  "record",
  "disclosures",
  "inclusion",
  "checkpoint",
  "policy",
  "decision",
  "completeness",
  "table",
  "controls",
  "trust",
] as const;

export type PackStepName = (typeof packSteps)[number];
export type PackStep = Step<PackStepName>;
