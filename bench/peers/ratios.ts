/** What is wanted of Sigil beside its peers, and whether a run shows it. Ratios are taken within a round. */
import { measure, ratioOf, type Measured } from "../statistics.ts";
import type { Cell, Kept, PeerResults, Sample } from "./results.ts";
import type { LoadName, ServerId } from "./served.ts";

export type Ratio = {
  readonly name: string;
  readonly wanted: string;
  /** Median and range, or why there is none. */
  readonly measured: string;
  /** not measured: a side was left out, or failed. */
  readonly outcome: "met" | "not met" | "not measured" | "to compare";
};

/** Peers that log what they have answered. */
const loggers = ["opa-log", "cerbos-file", "cerbos-badger"] as const satisfies readonly ServerId[];

type Mode = "full" | "half";
type Of = (sample: Sample) => number;
type At = { readonly server: ServerId; readonly load: LoadName; readonly mode?: Mode };

const rate: Of = ({ perSecond }) => perSecond;
const cpu: Of = ({ cpuUs }) => cpuUs;
const p50: Of = ({ p50Ms }) => p50Ms;
const p99: Of = ({ p99Ms }) => p99Ms;
const rss: Of = ({ rssBytes }) => rssBytes;
/** Of a load with one call in flight. */
const timeEach: Of = ({ perSecond }) => 1 / perSecond;

/** Undefined where it was not measured, or has failed. */
const seriesOf = (
  cells: readonly Cell[],
  { server, load, mode = "full" }: At,
  of: Of,
): Measured | undefined => {
  const found = cells.find((cell) => cell.server === server && cell.load === load);
  if (found === undefined || found.failure !== undefined || found[mode].length === 0) return undefined;
  return measure(found[mode].map(of));
};

const twoDigits = (value: number): string => value.toFixed(2);
const whole = (value: number): string => Math.round(value).toLocaleString("en-US");

const shown = ({ median, low, high }: Measured, format: (value: number) => string): string =>
  `${format(median)} (${format(low)} to ${format(high)})`;

const judged = (
  name: string,
  bound: { readonly atLeast: number } | { readonly atMost: number },
  measured: Measured | undefined,
  format = twoDigits,
): Ratio => {
  const wanted = "atLeast" in bound ? `≥ ${format(bound.atLeast)}` : `≤ ${format(bound.atMost)}`;
  if (measured === undefined) return { name, wanted, measured: "–", outcome: "not measured" };
  const { median } = measured;
  const isMet = "atLeast" in bound ? median >= bound.atLeast : median <= bound.atMost;
  return { name, wanted, measured: shown(measured, format), outcome: isMet ? "met" : "not met" };
};

/** What no server of this kind is below. */
const compared = (name: string, measured: Measured | undefined): readonly Ratio[] =>
  measured === undefined
    ? []
    : [{ name, wanted: "–", measured: shown(measured, twoDigits), outcome: "to compare" }];

const divided = (above: Measured | undefined, below: Measured | undefined): Measured | undefined =>
  above === undefined || below === undefined ? undefined : ratioOf(above, below);

const keptBy = (kept: readonly Kept[], server: ServerId): Measured | undefined => {
  const found = kept.find((one) => one.server === server);
  return found === undefined ? undefined : measure([found.bytesEach]);
};

const besidePeers = ({ cells, kept }: PeerResults): readonly Ratio[] => {
  const series = (server: ServerId, load: LoadName, of: Of, mode: Mode = "full") =>
    seriesOf(cells, { server, load, mode }, of);
  const check = series("sigil", "unary", rate);
  const batch = series("sigil", "batch", rate);
  // The logging peer whose calls take least at half load.
  const [best] = loggers
    .flatMap((server) => {
      const halfP50 = series(server, "unary", p50, "half");
      return halfP50 === undefined ? [] : [{ server, median: halfP50.median }];
    })
    .toSorted((one, other) => one.median - other.median);
  const ofBest = (of: Of) => (best === undefined ? undefined : series(best.server, "unary", of, "half"));
  const bestName = `the best logging peer's${best === undefined ? "" : ` (${best.server})`}`;
  const stays = keptBy(kept, "sigil");
  const written = series("sigil", "batch", ({ writtenBytes }) => writtenBytes);
  const writtenPerKept =
    written === undefined || stays === undefined
      ? undefined
      : measure(written.runs.map((bytes) => bytes / stays.median));
  return [
    judged(
      "Check a second ÷ Cerbos with file audit",
      { atLeast: 1.1 },
      divided(check, series("cerbos-file", "unary", rate)),
    ),
    judged(
      "Check a second ÷ OPA with a decision log",
      { atLeast: 1.1 },
      divided(check, series("opa-log", "unary", rate)),
    ),
    judged(
      `Check, p50 at half load ÷ ${bestName}`,
      { atMost: 2 },
      divided(series("sigil", "unary", p50, "half"), ofBest(p50)),
    ),
    judged(
      `Check, p99 at half load ÷ ${bestName}`,
      { atMost: 2 },
      divided(series("sigil", "unary", p99, "half"), ofBest(p99)),
    ),
    judged(
      "Check, processor time at half load ÷ at full",
      { atMost: 1.4 },
      divided(series("sigil", "unary", cpu, "half"), series("sigil", "unary", cpu)),
    ),
    ...compared(
      "The same of a grpc-js server that does nothing",
      divided(series("nothing", "unary", cpu, "half"), series("nothing", "unary", cpu)),
    ),
    ...compared(
      "Check, processor time with 1 in flight ÷ with 64",
      divided(series("sigil", "alone", cpu), series("sigil", "unary", cpu)),
    ),
    ...compared(
      "The same of a grpc-js server that does nothing",
      divided(series("nothing", "alone", cpu), series("nothing", "unary", cpu)),
    ),
    judged("BatchCheck of 100, decisions a second", { atLeast: 20_000 }, batch, whole),
    judged(
      "BatchCheck of 100 ÷ Cerbos with file audit (aim: 0.75)",
      { atLeast: 0.6 },
      divided(batch, series("cerbos-file", "batch", rate)),
    ),
    judged(
      "Run of a warm module ÷ Check, 16 in flight each",
      { atLeast: 0.4 },
      divided(series("sigil-modules", "run", rate), series("sigil-modules", "gate", rate)),
    ),
    judged("Bytes on disk a decision", { atMost: 900 }, stays, whole),
    judged("Bytes written to disk a batched decision ÷ what stays", { atMost: 3 }, writtenPerKept),
  ];
};

/** @param name whose side is below: the checkout before, by its number. */
const besideBefore = (cells: readonly Cell[], before: ServerId, name: string): readonly Ratio[] => {
  const ratio = (load: LoadName, of: Of, mode: Mode = "full") =>
    divided(
      seriesOf(cells, { server: "sigil", load, mode }, of),
      seriesOf(cells, { server: before, load, mode }, of),
    );
  return [
    judged(`Check a second ÷ ${name}`, { atLeast: 1 }, ratio("unary", rate)),
    judged(`Check, processor time ÷ ${name}`, { atMost: 1 }, ratio("unary", cpu)),
    judged(`Check, p50 at half load ÷ ${name}`, { atMost: 0.3 }, ratio("unary", p50, "half")),
    judged(`Check, processor time at half load ÷ ${name}`, { atMost: 1 }, ratio("unary", cpu, "half")),
    judged(`Check, 1 in flight, time ÷ ${name}`, { atMost: 0.55 }, ratio("alone", timeEach)),
    judged(`Check, 1 in flight, processor time ÷ ${name}`, { atMost: 0.4 }, ratio("alone", cpu)),
    judged(`BatchCheck of 100 ÷ ${name}`, { atLeast: 1.55 }, ratio("batch", rate)),
    judged(`BatchCheck of 100, processor time ÷ ${name}`, { atMost: 1 }, ratio("batch", cpu)),
    judged(`RSS under 64 checks in flight ÷ ${name}`, { atMost: 0.5 }, ratio("unary", rss)),
  ];
};

/** The same code against itself, where a checkout was given twice: what a ratio is worth. */
const besideItself = (cells: readonly Cell[], [first, second]: readonly ServerId[]): readonly string[] => {
  if (first === undefined || second === undefined) return [];
  const line = (name: string, load: LoadName, of: Of, mode: Mode = "full"): readonly string[] => {
    const found = divided(
      seriesOf(cells, { server: second, load, mode }, of),
      seriesOf(cells, { server: first, load, mode }, of),
    );
    return found === undefined ? [] : [`${name}: ${shown(found, twoDigits)}`];
  };
  return [
    ...line("Check a second", "unary", rate),
    ...line("Check, processor time", "unary", cpu),
    ...line("Check, p50 at half load", "unary", p50, "half"),
    ...line("Check, 1 in flight, time", "alone", timeEach),
    ...line("Check, 1 in flight, processor time", "alone", cpu),
    ...line("BatchCheck of 100", "batch", rate),
    ...line("BatchCheck of 100, processor time", "batch", cpu),
  ];
};

const beforeOf = (cells: readonly Cell[]): readonly ServerId[] =>
  [...new Set(cells.map(({ server }) => server))].filter((server) => server.startsWith("before-"));

export const ratiosOf = (results: PeerResults): readonly Ratio[] => {
  const [before] = beforeOf(results.cells);
  return [
    ...besidePeers(results),
    ...(before === undefined ? [] : besideBefore(results.cells, before, "before")),
  ];
};

/** Lines of `before-2 ÷ before-1`. */
export const noiseOf = ({ cells }: PeerResults): readonly string[] => besideItself(cells, beforeOf(cells));
