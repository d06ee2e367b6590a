/**
 * The five features of a check, each in [0, 1]: the model's input. Source: docs/spec/trust.md §3. Pure. Input bytes are
 * read once; the caller bounds them (`inputBytesMax`).
 */
import { isAtLeast, levelFraction } from "../record/levels.ts";
import type { Level } from "../record/levels.ts";
import type { GlobTable } from "./glob.ts";

/** In summation order. The names are those in records. */
export const FEATURES = ["action_risk", "target_sensitivity", "level", "rate", "entropy"] as const;

export type Feature = (typeof FEATURES)[number];

/** One number per feature. */
export type PerFeature = { readonly [F in Feature]: number };

/** A model's entry for an action: its risk in [0, 1] and the minimum level, below which the answer is deny. */
export type ActionRule = { readonly risk: number; readonly minLevel: Level };

/** The part of a model that turns a check into features. */
export type FeatureTables = {
  readonly actions: GlobTable<ActionRule>;
  readonly targets: GlobTable<number>;
  /** `limit` in checks per window. */
  readonly rate: { readonly limit: number };
};

/** The facts about one check, before the model is evaluated. */
export type Observation = {
  readonly action: string;
  readonly target: string;
  /** The subject's level from the ledger. */
  readonly level: Level;
  /** The subject's earlier checks inside the window. */
  readonly rateCount: number;
  /** Null if the check has no input. */
  readonly input: Uint8Array | null;
  /** A further minimum level besides the action's own; undefined if none. */
  readonly minLevel?: Level | undefined;
};

export type Features = {
  readonly values: PerFeature;
  readonly level: Level;
  /** The action's rule; null if the model does not list the action. */
  readonly rule: ActionRule | null;
};

/** Shannon entropy of the byte frequencies, in bits per byte (0 … 8), divided by 8; 0 for empty input. */
export const inputEntropy = (input: Uint8Array): number => {
  if (input.length === 0) return 0;
  const counts = new Uint32Array(256);
  // By index: an iterator takes over ten times as long, 100 ms of the event loop for an input of 4 MB.
  for (let index = 0; index < input.length; index += 1) {
    const byte = input[index] ?? 0;
    counts[byte] = (counts[byte] ?? 0) + 1;
  }
  let bits = 0;
  for (const count of counts) {
    if (count > 0) bits += (count / input.length) * Math.log2(input.length / count);
  }
  return Math.min(1, bits / 8);
};

/** The used fraction of the window's limit, at most 1. */
export const rateFraction = (rateCount: number, limit: number): number => Math.min(1, rateCount / limit);

/** The maximum, for the risk of an unknown action and the sensitivity of an unlisted target. */
const unlisted = 1;

/** The rule with its minimum level raised to the floor. An unknown action stays unknown. */
const raised = (rule: ActionRule | null, floor: Level | undefined): ActionRule | null =>
  rule === null || floor === undefined || isAtLeast(rule.minLevel, floor)
    ? rule
    : { ...rule, minLevel: floor };

/** The features that depend only on request and model; the other two need the clock and the input. */
export const lookUpFeatures = (
  model: FeatureTables,
  request: Pick<Observation, "action" | "target" | "level" | "minLevel">,
  measured: { readonly rate: number; readonly entropy: number },
): Features => {
  const rule = raised(model.actions.find(request.action)?.value ?? null, request.minLevel);
  return {
    values: {
      action_risk: rule?.risk ?? unlisted,
      target_sensitivity: model.targets.find(request.target)?.value ?? unlisted,
      level: levelFraction(request.level),
      rate: measured.rate,
      entropy: measured.entropy,
    },
    level: request.level,
    rule,
  };
};

export const gatherFeatures = (model: FeatureTables, observation: Observation): Features =>
  lookUpFeatures(model, observation, {
    rate: rateFraction(observation.rateCount, model.rate.limit),
    entropy: observation.input === null ? 0 : inputEntropy(observation.input),
  });
