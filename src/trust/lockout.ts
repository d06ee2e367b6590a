/**
 * Whether a model permits its own replacement, and suspending a stolen key. A model that denies proposing or attesting
 * could never be changed by a quorum, so it is refused when proposed. Source: docs/spec/trust.md §6. Pure.
 */
import { fail } from "../errors.ts";
import type { Level } from "@sigil/core/record";
import { gatherFeatures, evaluate, type TrustModel } from "@sigil/core/model";

/** A check against the model. */
type Matter = { readonly action: string; readonly target: string };

const committing: Matter = { action: "canon.commit", target: "canon/proposal" };
const suspending: Matter = { action: "canon.suspend", target: "canon/suspension" };

/**
 * The action and target checked for a suspension. In a model without an exact row for it, a pattern that happens to
 * match must not block suspending a stolen key: it is checked as a commit, which every model allows to Root. Source:
 * docs/spec/suspension.md §3.
 */
export const suspensionMatter = (actions: Iterable<string>): Matter =>
  new Set(actions).has(suspending.action) ? suspending : committing;

type Step = Matter & { readonly level: Level; readonly need: string };

const need = "no quorum could replace the model";

/** The steps of a replacement, with the minimum level that must always be allowed each. */
const STEPS: readonly Step[] = [
  { level: "root", action: "canon.propose", target: "canon/system/trust_model/active", need },
  { level: "observer", action: "canon.attest", target: "canon/proposal", need },
  { level: "root", ...committing, need },
];

const stepsUnder = (model: TrustModel): readonly Step[] => {
  const matter = suspensionMatter(model.actions.entries.map(({ pattern }) => pattern));
  return [...STEPS, { level: "root", ...matter, need: "nobody could stop a stolen key at once" }];
};

/** Checked with a full rate window, so that high load cannot cause a lockout. @throws malformedModel. */
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
