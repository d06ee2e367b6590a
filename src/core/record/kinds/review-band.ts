/** The review band that a model sets and a decision repeats. Pure. */
import type { CborValue } from "../../cbor/cbor.ts";
import { exactMap, refuseField, shareField } from "../fields.ts";

/** Scores from `low` to `high` are for a person to review; both in [0, 1], low first. */
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
