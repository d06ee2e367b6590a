/**
 * How a decision's sum came about, as bars: the bias and each contribution begin where the one before ended, in the
 * order they were summed. Pure. Everything is in logits, as the record has it: nothing is rounded or scaled here.
 */
import type { Feature } from "./shapes.ts";

export type Bar = {
  readonly name: string;
  /** In [0, 1]; undefined for the bias. */
  readonly value: number | undefined;
  readonly contribution: number;
  /** Where it begins and ends. */
  readonly from: number;
  readonly to: number;
};

export type Waterfall = {
  readonly bars: readonly Bar[];
  /** The threshold in logits; undefined when there was no model. */
  readonly threshold: number | undefined;
  /** What is drawn, from left to right: zero, the threshold, every bar and the sum, with a margin. */
  readonly left: number;
  readonly right: number;
};

export type Summed = {
  /** Undefined where the model's record could not be read: then the bars begin where they end at z. */
  readonly bias: number | undefined;
  readonly features: readonly Feature[];
  readonly z: number | undefined;
  /** In (0, 1). */
  readonly threshold: number | undefined;
};

const marginShare = 0.04;

export const waterfallOf = ({ bias, features, z = 0, threshold }: Summed): Waterfall => {
  const total = features.reduce((sum, { contribution }) => sum + contribution, 0);
  const bars: Bar[] = [];
  let at = bias ?? z - total;
  if (bias !== undefined)
    bars.push({ name: "bias", value: undefined, contribution: bias, from: 0, to: bias });
  for (const { feature, value, contribution } of features) {
    bars.push({ name: feature, value, contribution, from: at, to: at + contribution });
    at += contribution;
  }
  const limit = threshold === undefined ? undefined : Math.log(threshold / (1 - threshold));
  const drawn = [
    0,
    z,
    ...(limit === undefined ? [] : [limit]),
    ...bars.flatMap(({ from, to }) => [from, to]),
  ];
  const [least, most] = [Math.min(...drawn), Math.max(...drawn)];
  const margin = Math.max(most - least, 1) * marginShare;
  return { bars, threshold: limit, left: least - margin, right: most + margin };
};
