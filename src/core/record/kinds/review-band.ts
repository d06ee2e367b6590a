/** The review band of a model, copied into each decision. Pure. */
import type { CborValue } from "../../cbor/cbor.ts";
import { exactMap, refuseField, shareField } from "../fields.ts";

/** Scores from `low` to `high` need review by a person; both in [0, 1], low ≤ high. */
export interface ReviewBand {
  readonly low: number;
  readonly high: number;
}

const bandKeys = ["low", "high"];

export const readReview = (value: CborValue | undefined, path: string): ReviewBand | null => {
  if (value === null) return null;
  const map = exactMap(value, path, bandKeys);
  const band = { low: shareField(map, path, "low"), high: shareField(map, path, "high") };
  return band.low <= band.high ? band : refuseField(path, "low", "must not exceed high");
};
