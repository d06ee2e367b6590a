/** How much the benchmarks of the feed do, and how they say what came of it. */
import { measure, ratioOf, type Measured } from "./statistics.ts";

export type FeedScale = {
  readonly rounds: number;
  /** Of the golden ledger. */
  readonly records: number;
  readonly runMs: number;
  /** For scratch ledgers. */
  readonly directory: string;
};

const format = ({ median, low, high }: Measured, digits: number): string =>
  `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;

/** Runs a second by load, which take turns: each round begins with another one. */
export const inTurns = async <Load extends string>(
  loads: readonly Load[],
  rounds: number,
  run: (load: Load, round: number) => Promise<number>,
): Promise<ReadonlyMap<Load, Measured>> => {
  const rates = new Map<Load, number[]>(loads.map((load) => [load, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const at of loads.keys()) {
      const load = loads[(at + round) % loads.length];
      if (load !== undefined) rates.get(load)?.push(await run(load, round));
    }
  }
  return new Map([...rates].map(([load, runs]) => [load, measure(runs)]));
};

/** @param below loads that the first of `rates` is held against. */
export const describeRates = <Load extends string>(
  rates: ReadonlyMap<Load, Measured>,
  unit: string,
  [above, ...below]: readonly Load[],
): readonly string[] => {
  const ratios = below.flatMap((load) => {
    const [one, two] = [above === undefined ? undefined : rates.get(above), rates.get(load)];
    return one === undefined || two === undefined
      ? []
      : [`${above} ÷ ${load}: ${format(ratioOf(one, two), 3)}`];
  });
  return [...[...rates].map(([load, rate]) => `${load}: ${format(rate, 0)} ${unit} a second`), ...ratios];
};
