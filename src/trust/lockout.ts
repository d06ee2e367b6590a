/**
 * Whether a model leaves a way to its own replacement, and to stopping a stolen key. Under one that denies proposing or
 * attesting, no quorum could ever change it again, so such a model is refused before it is proposed. Source:
 * docs/spec/trust.md §6. Pure.
 */
import { fail } from "../errors.ts";
import type { Level } from "@sigil/core/record";
import { gatherFeatures, evaluate, type TrustModel } from "@sigil/core/model";

/** What is asked of the model. */
type Matter = { readonly action: string; readonly target: string };

const committing: Matter = { action: "canon.commit", target: "canon/proposal" };
const suspending: Matter = { action: "canon.suspend", target: "canon/suspension" };

/**
 * What a suspension is asked as. A model without a row of its own for it says nothing about suspending on purpose, and
 * a pattern that happens to match must not keep a stolen key in use: it is asked as a commit, which every model leaves
 * to Root. Source: docs/spec/suspension.md §3.
 */
export const suspensionMatter = (actions: Iterable<string>): Matter =>
  new Set(actions).has(suspending.action) ? suspending : committing;

type Step = Matter & { readonly level: Level; readonly need: string };

const need = "no quorum could replace the model";

/** The steps of a replacement, and the least level that must always be able to take each. */
const STEPS: readonly Step[] = [
  { level: "root", action: "canon.propose", target: "canon/system/trust_model/active", need },
  { level: "observer", action: "canon.attest", target: "canon/proposal", need },
  { level: "root", ...committing, need },
];

const stepsUnder = (model: TrustModel): readonly Step[] => {
  const matter = suspensionMatter(model.actions.entries.map(({ pattern }) => pattern));
  return [...STEPS, { level: "root", ...matter, need: "nobody could stop a stolen key at once" }];
};

/** In a full rate window, so that being busy never locks the door. @throws malformedModel. */
export const checkReplaceable = (model: TrustModel): void => {
  for (const step of stepsUnder(model)) {
    const { level, action, target } = step;
    const observation = { action, target, level, rateCount: model.rate.limit, input: null };
    const { kind } = evaluate(model, gatherFeatures(model, observation)).verdict;
    if (kind === "allow") continue;
    const rule = `must allow ${action} on ${target} to ${level} in a full rate window: else ${step.need}`;
    fail({ kind: "malformedModel", field: "actions", rule });
  }
};
