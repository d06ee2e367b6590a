/**
 * The five features of a check, each in [0, 1]: what the model sees of it. Source: docs/spec/trust.md §3. Pure.
 * Input bytes are read once; the caller bounds them (`inputBytesMax`).
 */
import { isAtLeast, levelFraction } from "../record/levels.ts";
import type { Level } from "../record/levels.ts";
import type { GlobTable } from "./glob.ts";

/** In the order in which the model adds them up. The names are those of the records. */
export const FEATURES = ["action_risk", "target_sensitivity", "level", "rate", "entropy"] as const;

export type Feature = (typeof FEATURES)[number];

/** One number a feature. */
export type PerFeature = { readonly [F in Feature]: number };

/** What a model says of an action: its risk in [0, 1] and the level below which the answer is no. */
export type ActionRule = { readonly risk: number; readonly minLevel: Level };

/** The part of a model that turns a check into features. */
export type FeatureTables = {
  readonly actions: GlobTable<ActionRule>;
  readonly targets: GlobTable<number>;
  /** `limit` in checks a window. */
  readonly rate: { readonly limit: number };
};

/** What is known of one check before the model is asked. */
export type Observation = {
  readonly action: string;
  readonly target: string;
  /** The subject's level, as the ledger has it. */
  readonly level: Level;
  /** The subject's earlier checks inside the window. */
  readonly rateCount: number;
  /** Null when the check came without input. */
  readonly input: Uint8Array | null;
  /** A floor under the action's own least level; undefined where there is none. */
  readonly minLevel?: Level | undefined;
};

export type Features = {
  readonly values: PerFeature;
  readonly level: Level;
  /** The rule of the action, or null when the model does not know the action. */
  readonly rule: ActionRule | null;
};

/** Shannon entropy of the byte frequencies, in bits a byte (0 … 8), divided by 8. Empty input has none. */
export const inputEntropy = (input: Uint8Array): number => {
  if (input.length === 0) return 0;
  const counts = new Uint32Array(256);
  for (const byte of input) counts[byte] = (counts[byte] ?? 0) + 1;
  let bits = 0;
  for (const count of counts) {
    if (count > 0) bits += (count / input.length) * Math.log2(input.length / count);
  }
  return Math.min(1, bits / 8);
};

/** The share of the window's limit that is used up, never above 1. */
export const rateFraction = (rateCount: number, limit: number): number => Math.min(1, rateCount / limit);

/** An unknown action is as risky, and an unlisted target as sensitive, as can be. */
const unlisted = 1;

/** The rule with its least level raised to the floor. An action that nobody knows stays unknown. */
const raised = (rule: ActionRule | null, floor: Level | undefined): ActionRule | null =>
  rule === null || floor === undefined || isAtLeast(rule.minLevel, floor)
    ? rule
    : { ...rule, minLevel: floor };

/** The features that follow from the request and the model alone; the other two need the clock and the input. */
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
