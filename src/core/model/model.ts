/**
 * The trust model: parsed strictly from its record, then evaluated. Source: docs/spec/trust.md §1 and §4. Pure. Every
 * number comes from the record; a model that breaks any rule is refused. Tables have at most `modelTableEntriesMax`
 * entries.
 */
import { isAtLeast, isLevel } from "../record/levels.ts";
import type { CborMap, CborValue } from "../cbor/cbor.ts";
import { assert, fail } from "../errors.ts";
import { modelTableEntriesMax, rateLimitMax, rateWindowMsMax } from "../limits.ts";
import { levelNames } from "../record/names.ts";
import { FEATURES } from "./features.ts";
import type { ActionRule, Feature, Features, PerFeature } from "./features.ts";
import { compileGlobTable, globFault } from "./glob.ts";
import type { GlobTable } from "./glob.ts";
import { scoreOf } from "../record/kinds/frozen-chain.ts";
import { logit } from "./logit.ts";
import type { Verdict } from "./verdict.ts";

/** A band of scores, or of logits, for which the verdict is review. */
export type Band = { readonly low: number; readonly high: number };

export type TrustModel = {
  readonly bias: number;
  readonly weights: PerFeature;
  readonly threshold: number;
  readonly review: Band | null;
  readonly actions: GlobTable<ActionRule>;
  readonly targets: GlobTable<number>;
  readonly rate: { readonly windowMs: number; readonly limit: number };
  /** `threshold` in logits, computed once so that every verdict compares with the same number. */
  readonly thresholdZ: number;
  readonly reviewZ: Band | null;
};

/** The required strict sign of each weight: risk lowers the score, access raises it. */
const SIGNS: Readonly<Record<Feature, 1 | -1>> = {
  action_risk: -1,
  target_sensitivity: -1,
  level: 1,
  rate: -1,
  entropy: -1,
};

const refuse = (field: string, rule: string): never => fail({ kind: "malformedModel", field, rule });

const isMap = (value: CborValue | undefined): value is CborMap =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const readMap = (value: CborValue | undefined, field: string): CborMap =>
  isMap(value) ? value : refuse(field, "must be a map");

/** A map with exactly these keys; missing and unknown ones are refused. */
const readFields = (value: CborValue | undefined, field: string, keys: readonly string[]): CborMap => {
  const map = readMap(value, field);
  const path = (key: string): string => (field === "model" ? key : `${field}.${key}`);
  for (const key of keys) if (!Object.hasOwn(map, key)) refuse(path(key), "is missing");
  for (const key of Object.keys(map)) if (!keys.includes(key)) refuse(path(key), "is not a field of a model");
  return map;
};

const readNumber = (value: CborValue | undefined, field: string): number =>
  typeof value === "number" && Number.isFinite(value) ? value : refuse(field, "must be a finite number");

const readFraction = (value: CborValue | undefined, field: string): number => {
  const number = readNumber(value, field);
  return number >= 0 && number <= 1 ? number : refuse(field, "must be between 0 and 1");
};

const readScore = (value: CborValue | undefined, field: string): number => {
  const number = readNumber(value, field);
  return number > 0 && number < 1 ? number : refuse(field, "must be above 0 and below 1");
};

const readCount = (value: CborValue | undefined, field: string, max: number): number => {
  const number = readNumber(value, field);
  const good = Number.isSafeInteger(number) && number >= 1 && number <= max;
  return good ? number : refuse(field, `must be a whole number from 1 to ${max}`);
};

const readWeights = (value: CborValue | undefined): PerFeature => {
  const map = readFields(value, "weights", FEATURES);
  const read = (feature: Feature): number => {
    const weight = readNumber(map[feature], `weights.${feature}`);
    const sign = SIGNS[feature];
    if (weight * sign <= 0) refuse(`weights.${feature}`, sign > 0 ? "must be above 0" : "must be below 0");
    return weight;
  };
  return {
    action_risk: read("action_risk"),
    target_sensitivity: read("target_sensitivity"),
    level: read("level"),
    rate: read("rate"),
    entropy: read("entropy"),
  };
};

const readTable = <Value>(
  value: CborValue | undefined,
  field: string,
  readEntry: (entry: CborValue | undefined, entryField: string) => Value,
): GlobTable<Value> => {
  const entries = Object.entries(readMap(value, field));
  if (entries.length > modelTableEntriesMax)
    refuse(field, `must have at most ${modelTableEntriesMax} entries`);
  return compileGlobTable(
    entries.map(([pattern, entry]) => {
      const entryField = `${field}[${JSON.stringify(pattern)}]`;
      const fault = globFault(pattern);
      if (fault !== null) refuse(entryField, fault);
      return [pattern, readEntry(entry, entryField)] as const;
    }),
  );
};

const readActionRule = (value: CborValue | undefined, field: string): ActionRule => {
  const map = readFields(value, field, ["risk", "min_loa"]);
  const minLevel = map["min_loa"];
  return Object.freeze({
    risk: readFraction(map["risk"], `${field}.risk`),
    minLevel: isLevel(minLevel)
      ? minLevel
      : refuse(`${field}.min_loa`, `must be one of ${levelNames.join(", ")}`),
  });
};

const readReview = (value: CborValue | undefined, threshold: number): Band | null => {
  if (value === null) return null;
  const map = readFields(value, "review", ["low", "high"]);
  const low = readScore(map["low"], "review.low");
  const high = readScore(map["high"], "review.high");
  if (low > threshold) refuse("review.low", "must not be above threshold");
  if (high < threshold) refuse("review.high", "must not be below threshold");
  return { low, high };
};

/** Refuses sums that could overflow: every decision would be an evaluator error. */
const checkRange = (bias: number, weights: PerFeature): void => {
  let magnitude = Math.abs(bias);
  for (const feature of FEATURES) magnitude += Math.abs(weights[feature]);
  if (!Number.isFinite(magnitude)) refuse("weights", "must add up to a finite number");
};

/** @throws malformedModel naming the field and the rule it breaks. */
export const parseModel = (payload: CborValue): TrustModel => {
  const keys = ["bias", "weights", "threshold", "review", "actions", "targets", "rate"];
  const map = readFields(payload, "model", keys);
  const bias = readNumber(map["bias"], "bias");
  const weights = readWeights(map["weights"]);
  checkRange(bias, weights);
  const threshold = readScore(map["threshold"], "threshold");
  const review = readReview(map["review"], threshold);
  const rate = readFields(map["rate"], "rate", ["window_ms", "limit"]);
  return {
    bias,
    weights,
    threshold,
    review,
    actions: readTable(map["actions"], "actions", readActionRule),
    targets: readTable(map["targets"], "targets", readFraction),
    rate: {
      windowMs: readCount(rate["window_ms"], "rate.window_ms", rateWindowMsMax),
      limit: readCount(rate["limit"], "rate.limit", rateLimitMax),
    },
    thresholdZ: logit(threshold),
    reviewZ: review === null ? null : { low: logit(review.low), high: logit(review.high) },
  };
};

export type Evaluation = {
  readonly verdict: Verdict;
  /** Logits. */
  readonly z: number;
  /** 1 / (1 + e^−z), for display. */
  readonly score: number;
  readonly contributions: PerFeature;
};

/** Monotone in z: deny, then review, then allow. */
const decide = (model: TrustModel, features: Features, z: number): Verdict => {
  if (features.rule === null) return { kind: "deny", reason: "UNKNOWN_ACTION" };
  if (!isAtLeast(features.level, features.rule.minLevel)) return { kind: "deny", reason: "LEVEL_TOO_LOW" };
  const band = model.reviewZ;
  if (z >= model.thresholdZ && (band === null || z >= band.high)) {
    return { kind: "allow", reason: "SCORE_AT_OR_ABOVE_THRESHOLD" };
  }
  if (band !== null && z >= band.low) return { kind: "review", reason: "REVIEW_BAND" };
  return { kind: "deny", reason: "SCORE_BELOW_THRESHOLD" };
};

/** @throws Error if a feature is not a number in [0, 1]: the caller must answer deny. */
export const evaluate = (model: TrustModel, features: Features): Evaluation => {
  const contribute = (feature: Feature): number => {
    const value = features.values[feature];
    assert(value >= 0 && value <= 1, `feature ${feature} is outside [0, 1]`);
    // Adding zero turns −0 into 0, so that a contribution reads back from its record as it was.
    return model.weights[feature] * value + 0;
  };
  const contributions: PerFeature = {
    action_risk: contribute("action_risk"),
    target_sensitivity: contribute("target_sensitivity"),
    level: contribute("level"),
    rate: contribute("rate"),
    entropy: contribute("entropy"),
  };
  let z = model.bias;
  for (const feature of FEATURES) z += contributions[feature];
  assert(Number.isFinite(z), "z is not a finite number");
  return { verdict: decide(model, features, z), z, score: scoreOf(z), contributions };
};
