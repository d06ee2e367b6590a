/** The comparison as tables for the terminal, and as docs/operating/peers.md. Same numbers, same order. */
import { mebibytes, oneDigit, table, whole } from "../page-cells.ts";
import { medianOf } from "../statistics.ts";
import { noiseOf, ratiosOf } from "./ratios.ts";
import type { Cell, PeerResults, Sample } from "./results.ts";

const none = "–";

const head = [
  "What",
  "Before its reply",
  "A second: median (range)",
  "CPU µs each",
  "at half load",
  "p50 / p99 ms",
  "at half load",
  "Written B each",
  "RSS MiB",
];

const rowOf = (cell: Cell): readonly string[] => {
  const { title, promise, full, half, failure } = cell;
  if (failure !== undefined) return [title, promise, "failed"];
  const median = (samples: readonly Sample[], of: (sample: Sample) => number): number =>
    medianOf(samples.map(of));
  const shown = (samples: readonly Sample[], of: (sample: Sample) => number, format = whole): string =>
    samples.length === 0 ? none : format(median(samples, of));
  const rates = full.map(({ perSecond }) => perSecond);
  const latencies = (samples: readonly Sample[]): string =>
    samples.length === 0
      ? none
      : `${twoDigits(median(samples, ({ p50Ms }) => p50Ms))} / ${oneDigit(median(samples, ({ p99Ms }) => p99Ms))}`;
  return [
    title,
    promise,
    `${whole(medianOf(rates))} (${whole(Math.min(...rates))} to ${whole(Math.max(...rates))})`,
    shown(full, ({ cpuUs }) => cpuUs),
    shown(half, ({ cpuUs }) => cpuUs),
    latencies(full),
    latencies(half),
    shown(full, ({ writtenBytes }) => writtenBytes),
    shown(full, ({ rssBytes }) => rssBytes, mebibytes),
  ];
};

const twoDigits = (value: number): string => value.toFixed(2);

const cellsTable = ({ cells }: PeerResults): string => table(head, cells.map(rowOf));

const ratiosTable = (results: PeerResults): string =>
  table(
    ["Wanted in one run", "", "Measured: median (range)", "Outcome"],
    ratiosOf(results).map(({ name, wanted, measured, outcome }) => [name, wanted, measured, outcome]),
  );

const keptTable = ({ kept }: PeerResults): string =>
  table(
    ["What stays on disk of", "Bytes a decision", "Decisions, warm-ups included"],
    kept.map(({ server, bytesEach, decisions }) => [server, whole(bytesEach), whole(decisions)]),
  );

/** How much of the machine others had while it was measured, in processors. */
const disturbance = ({ cells }: PeerResults): string => {
  const shares = cells.flatMap(({ full, half }) => [...full, ...half].map(({ othersCores }) => othersCores));
  if (shares.length === 0) return "Nothing was measured.";
  return (
    `Other processes, idle peers among them, used ${twoDigits(medianOf(shares))} processors in the median run and ` +
    `${twoDigits(Math.max(...shares))} in the worst.`
  );
};

/** Why something has no numbers. */
const problems = ({ cells, leftOut }: PeerResults): readonly string[] => [
  ...cells.flatMap(({ title, failure }) => (failure === undefined ? [] : [`Failed: ${title}: ${failure}`])),
  ...leftOut.map(({ what, why }) => `Left out: ${what}: ${why}`),
];

const noiseLines = (results: PeerResults): readonly string[] => {
  const lines = noiseOf(results);
  return lines.length === 0
    ? []
    : [["The same code against itself:", ...lines.map((line) => `- ${line}`)].join("\n")];
};

/** For a terminal. */
export const formatPeerTables = (results: PeerResults): string =>
  [
    cellsTable(results),
    ...(results.kept.length === 0 ? [] : [keptTable(results)]),
    ratiosTable(results),
    ...noiseLines(results),
    disturbance(results),
    ...problems(results),
  ].join("\n\n");

const machineText = ({ machine }: PeerResults): string =>
  `${machine.processor}, ${machine.cores} cores, ${oneDigit(machine.memoryBytes / 2 ** 30)} GiB, ${machine.system}, ` +
  `${machine.fileSystem}, Node ${machine.node}; ${machine.startedAt.slice(0, 10)}.`;

/** The page. */
export const formatPeersPage = (results: PeerResults): string => {
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`);
  return `${[
    "# Beside other servers",
    "What people would take instead of Sigil, asked the same question with the same tiny policy by one generator of load. " +
      "`npm run bench -- --peers --write` builds the other servers by the Go module proxy, measures and writes this page; " +
      "`npm run bench -- --peers --help` says the rest.",
    [
      machineText(results),
      "The generator and every server share the cores.",
      disturbance(results),
      ...(versions.length === 0 ? [] : [`Versions: ${versions.join(", ")}.`]),
    ].join(" "),
    "## Speed, and what it is the speed of",
    `Medians of ${results.rounds} rounds of ${results.seconds} s in which all take turns. 64 calls in flight over 4 ` +
      "connections (HTTP/1.1 for OPA: a connection a call), then half of that rate as an open loop, where a call's time " +
      "begins when it is due; 8 calls in flight where a call has 100 questions. Every answer is checked: a wrong or a " +
      "failed one fails the row. Processor time, memory and writes are those of the server's process.",
    "*Signed, sealed, in the tree, synced* means that before a caller has the answer, the decision is a signed record, " +
      "encrypted, in the Merkle tree under a checkpoint, and on disk: a power failure loses nothing that was answered. " +
      "*Log entry buffered* means that the decision is handed to the server's log, which reaches the disk when the " +
      "system writes it: a crash loses the newest entries, nobody signs them, and whoever has the file can change it. " +
      "*No log* means that nothing is left of the decision.",
    cellsTable(results),
    ...(results.kept.length === 0 ? [] : [keptTable(results)]),
    "## What is wanted, and what this run shows",
    "Ratios are taken within a round, so they hold on a slower machine where the absolute numbers do not.",
    ratiosTable(results),
    ...noiseLines(results),
    ...problems(results),
  ].join("\n\n")}\n`;
};
