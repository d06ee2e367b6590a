/** Payload of `trust_model`: the parameters of decisions. Pure. Source: docs/spec/record.md §6. */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  exactMap,
  numberField,
  oneOfField,
  refuseField,
  shareField,
  tableField,
  uintField,
} from "../fields.ts";
import { modelTableEntriesMax } from "../../limits.ts";
import { levelNames, type LevelName } from "../names.ts";
import { readReview, type ReviewBand } from "./review-band.ts";

export interface ActionRule {
  readonly risk: number;
  readonly minLoa: LevelName;
}

/** The trust service checks that exactly the known features have weights. */
export interface TrustModelPayload {
  readonly bias: number;
  readonly weights: Readonly<Record<string, number>>;
  /** A score, inside (0, 1). */
  readonly threshold: number;
  readonly review: ReviewBand | null;
  /** By glob over actions. */
  readonly actions: Readonly<Record<string, ActionRule>>;
  /** Sensitivity in [0, 1] by glob over targets. */
  readonly targets: Readonly<Record<string, number>>;
  readonly rate: { readonly windowMs: number; readonly limit: number };
}

const modelKeys = ["bias", "weights", "threshold", "review", "actions", "targets", "rate"];
const actionKeys = ["risk", "min_loa"];
const rateKeys = ["window_ms", "limit"];

const readAction = (table: CborMap, tablePath: string, glob: string): ActionRule => {
  const path = `${tablePath}.${glob}`;
  const map = exactMap(table[glob], path, actionKeys);
  return { risk: shareField(map, path, "risk"), minLoa: oneOfField(map, path, "min_loa", levelNames) };
};

const bounded = <Entry>(
  table: Readonly<Record<string, Entry>>,
  path: string,
  name: string,
): Readonly<Record<string, Entry>> => {
  if (Object.keys(table).length <= modelTableEntriesMax) return table;
  return refuseField(path, name, `must have at most ${modelTableEntriesMax} entries`);
};

/** @throws malformedRecord naming the field; `path` is the model's path. */
export const parseTrustModel = (payload: CborValue, path = "payload"): TrustModelPayload => {
  const map = exactMap(payload, path, modelKeys);
  const ratePath = `${path}.rate`;
  const rate = exactMap(map["rate"], ratePath, rateKeys);
  const threshold = numberField(map, path, "threshold");
  if (threshold <= 0 || threshold >= 1) refuseField(path, "threshold", "must lie inside (0, 1)");
  return {
    bias: numberField(map, path, "bias"),
    weights: tableField(map, path, "weights", numberField),
    threshold,
    review: readReview(map["review"], `${path}.review`),
    actions: bounded(tableField(map, path, "actions", readAction), path, "actions"),
    targets: bounded(tableField(map, path, "targets", shareField), path, "targets"),
    rate: {
      windowMs: uintField(rate, ratePath, "window_ms", 1),
      limit: uintField(rate, ratePath, "limit", 1),
    },
  };
};

export const formatTrustModel = (model: TrustModelPayload): CborMap => ({
  bias: model.bias,
  weights: model.weights,
  threshold: model.threshold,
  review: model.review === null ? null : { low: model.review.low, high: model.review.high },
  actions: Object.fromEntries(
    Object.entries(model.actions).map(([glob, rule]) => [glob, { risk: rule.risk, min_loa: rule.minLoa }]),
  ),
  targets: model.targets,
  rate: { window_ms: model.rate.windowMs, limit: model.rate.limit },
});
