/** Medians and ranges of repeated runs. At most a handful of runs. */

/** One quantity over the runs of a benchmark, in order. */
export type Measured = {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly runs: readonly number[];
};

/** @throws RangeError if there are no values. */
export const medianOf = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError("a median needs a value");
  return (lower + upper) / 2;
};

/** @throws RangeError if there are no values. */
export const measure = (runs: readonly number[]): Measured => ({
  median: medianOf(runs),
  low: Math.min(...runs),
  high: Math.max(...runs),
  runs,
});

/**
 * Ratio per round, since both runs of a round see the same machine.
 * @throws RangeError if the numbers of runs differ.
 */
export const ratioOf = (above: Measured, below: Measured): Measured => {
  if (above.runs.length !== below.runs.length) throw new RangeError("a ratio needs equally many runs");
  return measure(above.runs.map((value, index) => value / (below.runs[index] ?? Number.NaN)));
};

/** The quantile `share`, by nearest rank. @throws RangeError if there are no values. */
export const quantileOf = (values: readonly number[], share: number): number => {
  const sorted = Float64Array.from(values).sort();
  const found = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  if (found === undefined) throw new RangeError("a quantile needs a value");
  return found;
};
