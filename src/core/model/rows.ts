/** A model's contribution to a decision besides its weights: the bias and the matching rows. Pure. */
import type { CborValue } from "../cbor/cbor.ts";
import type { FrozenRequest } from "../record/kinds/frozen-chain.ts";
import { parseModel } from "./model.ts";

/**
 * @param modelPayload of the `trust_model` record that decided.
 * @returns the bias in logits, and the most specific matching globs; empty if none matched.
 * @throws malformedModel.
 */
export const rowsFor = (
  { action, target }: Pick<FrozenRequest, "action" | "target">,
  modelPayload: CborValue,
): { readonly bias: number; readonly actionGlob: string; readonly targetGlob: string } => {
  const { bias, actions, targets } = parseModel(modelPayload);
  return {
    bias,
    actionGlob: actions.find(action)?.pattern ?? "",
    targetGlob: targets.find(target)?.pattern ?? "",
  };
};
