/** The tree of a projection as its cursor holds it: the peaks at `next`, 32 bytes each. */
import { concatBytes, parseHash } from "@sigil/core/bytes";
import { emptyFrontier, peaksOf, restoreFrontier, type Frontier } from "@sigil/core/merkle";
import { failProjection } from "./fault.ts";

export const formatPeaks = ({ peaks }: Frontier): Uint8Array => concatBytes(...peaks);

/** @throws ProjectionFault: projectionDamaged. */
export const parsePeaks = (next: bigint, bytes: Uint8Array): Frontier => {
  // None of what a filter let through.
  if (next === 0n || bytes.length === 0) return emptyFrontier;
  const count = peaksOf(next).length;
  if (bytes.length !== 32 * count) {
    failProjection({ kind: "projectionDamaged", rule: "its cursor lacks peaks of the tree: rebuild it" });
  }
  const peaks = Array.from({ length: count }, (_, at) => parseHash(bytes.subarray(32 * at, 32 * (at + 1))));
  return restoreFrontier(next, peaks);
};
