/** An allow that tells the truth, and answers to the same question that contradict themselves. */
import { CheckResponse, Verdict } from "@sigil/client";

const logistic = (z: number): number => 1 / (1 + Math.exp(-z));
const honestZ = 1 + -1.2 + 4;
const contribution = (feature: string, value: number, weight: number) => ({
  feature,
  value,
  weight,
  contribution: value * weight,
});

/** What a server says that tells the truth. */
export const honest: CheckResponse = CheckResponse.fromPartial({
  verdict: Verdict.VERDICT_ALLOW,
  allowed: true,
  score: logistic(honestZ),
  threshold: 0.5,
  bias: 1,
  z: honestZ,
  contributions: [contribution("action_risk", 0.2, -6), contribution("level", 0.5, 8)],
  reason: "SCORE_AT_OR_ABOVE_THRESHOLD",
  auditId: "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
  ledgerPosition: 7n,
  modelHash: new Uint8Array(32),
  time: new Date(0),
});

/** For a lie about one number, or a truth without numbers. */
export const nothingElse = {
  score: undefined,
  threshold: undefined,
  bias: undefined,
  z: undefined,
  contributions: [],
  reason: "",
};

export const lies: readonly (readonly [what: string, lie: Partial<CheckResponse>])[] = [
  ["allowed with DENY", { verdict: Verdict.VERDICT_DENY }],
  ["allowed with REVIEW", { verdict: Verdict.VERDICT_REVIEW }],
  ["allowed without a verdict", { verdict: Verdict.VERDICT_UNSPECIFIED }],
  ["allowed with a verdict that is not known", { verdict: 4 as never }],
  ["allowed with a negative verdict", { verdict: -1 }],
  ["a verdict that is not known", { verdict: 9 as never, allowed: false }],
  ["no verdict at all", { verdict: Verdict.VERDICT_UNSPECIFIED, allowed: false }],
  ["ALLOW that is not allowed", { allowed: false }],
  ["ALLOW without a record", { auditId: "" }],
  ["REVIEW without a record", { verdict: Verdict.VERDICT_REVIEW, allowed: false, auditId: "" }],
  ["ALLOW with a score that is NaN", { ...nothingElse, score: Number.NaN }],
  ["ALLOW with a score above 1", { ...nothingElse, score: 1.5 }],
  ["ALLOW with a score below 0", { ...nothingElse, score: -0.5 }],
  ["ALLOW with a threshold that is NaN", { ...nothingElse, threshold: Number.NaN }],
  ["ALLOW with a threshold of 0", { ...nothingElse, score: 0.7, threshold: 0 }],
  ["ALLOW with a z that is NaN", { ...nothingElse, z: Number.NaN }],
  ["ALLOW with an infinite z", { ...nothingElse, z: Number.POSITIVE_INFINITY }],
  ["ALLOW with a bias that is NaN", { ...nothingElse, bias: Number.NaN }],
  ["ALLOW with another score than that of its z", { score: 0.9 }],
  ["ALLOW with 1 − score", { score: 1 - logistic(honestZ) }],
  ["ALLOW with another z than its sum", { z: 0.5, score: logistic(0.5) }],
  ["ALLOW below the threshold", { ...nothingElse, score: 0.49, threshold: 0.5 }],
  ["ALLOW with z below the threshold", { ...nothingElse, z: -0.1, threshold: 0.5 }],
  [
    "ALLOW with a contribution that is not value × weight",
    { ...nothingElse, contributions: [{ feature: "level", value: 0.5, weight: 8, contribution: 5 }] },
  ],
  [
    "ALLOW with an infinite contribution",
    { contributions: [{ feature: "level", value: 0.5, weight: 8, contribution: Number.POSITIVE_INFINITY }] },
  ],
  [
    "ALLOW with an infinite value",
    {
      ...nothingElse,
      contributions: [{ feature: "level", value: Number.POSITIVE_INFINITY, weight: 8, contribution: 4 }],
    },
  ],
  [
    "ALLOW with a contribution that is NaN",
    { contributions: [{ feature: "level", value: Number.NaN, weight: 8, contribution: Number.NaN }] },
  ],
  ["ALLOW with the reason of a low score", { reason: "SCORE_BELOW_THRESHOLD" }],
  ["ALLOW with the reason of a review", { reason: "REVIEW_BAND" }],
  ["ALLOW with the reason of a low level", { reason: "LEVEL_TOO_LOW" }],
  ["ALLOW without a model", { reason: "MODEL_MISSING" }],
  ["ALLOW by half a model's hash", { modelHash: new Uint8Array(16) }],
];
