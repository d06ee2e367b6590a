/** What a model contributed to a decision beside its weights: the bias, and the rows that matched. Pure. */
import type { CborValue } from "../cbor/cbor.ts";
import type { FrozenRequest } from "../record/kinds/frozen-chain.ts";
import { parseModel } from "./model.ts";

/**
 * @param modelPayload of the `trust_model` record that decided.
 * @returns the bias in logits, and the globs that won; empty where none matched.
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
