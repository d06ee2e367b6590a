/**
 * Whether a model leaves a way to its own replacement. Under one that denies proposing or attesting, no quorum could ever
 * change it again, so such a model is refused before it is proposed. Source: docs/spec/trust.md §6. Pure.
 */
import { fail } from "../record/errors.ts";
import type { Level } from "../identity/levels.ts";
import { gatherFeatures } from "./features.ts";
import { evaluate, type TrustModel } from "./model.ts";

/** The steps of a replacement, and the least level that must always be able to take each. */
const STEPS: readonly (readonly [level: Level, action: string, target: string])[] = [
  ["root", "canon.propose", "canon/system/trust_model/active"],
  ["observer", "canon.attest", "canon/proposal"],
  ["root", "canon.commit", "canon/proposal"],
];

/** In a full rate window, so that being busy never locks the door. @throws malformedModel. */
export const checkReplaceable = (model: TrustModel): void => {
  for (const [level, action, target] of STEPS) {
    const observation = { action, target, level, rateCount: model.rate.limit, input: null };
    const { kind } = evaluate(model, gatherFeatures(model, observation)).verdict;
    if (kind === "allow") continue;
    const rule = `must allow ${action} on ${target} to ${level} in a full rate window: else no quorum could replace the model`;
    fail({ kind: "malformedModel", field: "actions", rule });
  }
};
