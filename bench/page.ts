/** The results as a table for the terminal and as `docs/operating/performance.md`. Same numbers, same order. */
import type {
  MemorySample,
  PartCosts,
  Profiles,
  Results,
  StartTimes,
  Target,
  Throughput,
} from "./results.ts";
import { atLeast, mebibytes, oneDigit, shown, table, whole, type Row } from "./page-cells.ts";
import { moduleParagraphs, moduleTargets } from "./page-modules.ts";
import { ratioOf, type Measured } from "./statistics.ts";

/** Allowed relative difference of later samples from the first. */
const memoryGrowthMax = 0.1;

const growthOf = (samples: readonly MemorySample[], of: (sample: MemorySample) => number): number => {
  const [first, ...later] = samples.map(of);
  if (first === undefined) return Number.NaN;
  return Math.max(...later.map((value) => value / first - 1));
};

const memoryTarget = (
  name: string,
  samples: readonly MemorySample[],
  of: (sample: MemorySample) => number,
): Target => {
  const growth = growthOf(samples, of);
  const [first, last] = [samples[0]?.decisions ?? 0, samples.at(-1)?.decisions ?? 0];
  return {
    name: `${name} up to ${whole(last)} decisions beside ${whole(first)}`,
    wanted: `within ${memoryGrowthMax * 100} %`,
    measured: `${(growth * 100).toFixed(1)} % at most`,
    isMet: growth <= memoryGrowthMax,
  };
};

/** The project's performance targets. */
export const targetsOf = ({ throughput, memory, modules }: Results): readonly Target[] => {
  const targets: Target[] = [];
  if (throughput !== undefined) {
    const { nothingPerSecond, checkPerSecond, batchPerSecond, ledgerPerSecond } = throughput;
    targets.push(
      atLeast(
        "Unary Check beside a server that does nothing",
        0.6,
        ratioOf(checkPerSecond, nothingPerSecond),
      ),
      atLeast("Decisions in batches of 100 beside unary Check", 4, ratioOf(batchPerSecond, checkPerSecond)),
      atLeast(
        "Decisions in batches of 100 beside the ledger alone",
        0.7,
        ratioOf(batchPerSecond, ledgerPerSecond),
      ),
      atLeast("Ledger alone, records a second", 12_000, ledgerPerSecond, whole),
    );
  }
  if (modules !== undefined) targets.push(...moduleTargets(modules));
  if (memory !== undefined && memory.length > 1) {
    targets.push(
      memoryTarget("JavaScript heap", memory, ({ heapUsedBytes }) => heapUsedBytes),
      memoryTarget("Resident memory", memory, ({ rssBytes }) => rssBytes),
    );
  }
  return targets;
};

const targetsTable = (targets: readonly Target[]): string =>
  table(
    ["Promise", "Wanted", "Measured: median, range", "Met"],
    targets.map(({ name, wanted, measured, isMet }) => [name, wanted, measured, isMet ? "yes" : "no"]),
  );

const throughputTable = (throughput: Throughput): string => {
  const row = (name: string, perSecond: Measured, cpuUs: Measured): Row => [
    name,
    ...shown(perSecond, whole),
    whole(cpuUs.median),
  ];
  return table(
    ["What", "A second, median", "Range", "CPU µs each"],
    [
      row("A grpc-js server that does nothing, unary", throughput.nothingPerSecond, throughput.nothingCpuUs),
      row("`Check`, unary", throughput.checkPerSecond, throughput.checkCpuUs),
      row("`BatchCheck` of 100, decisions", throughput.batchPerSecond, throughput.batchCpuUs),
      row("The ledger alone, records", throughput.ledgerPerSecond, throughput.ledgerCpuUs),
      row(
        "The same batches straight into `level`, records",
        throughput.levelPerSecond,
        throughput.levelCpuUs,
      ),
    ],
  );
};

const partsTable = ({ parts }: PartCosts): string =>
  table(
    ["Part", "CPU µs a record", "Range", "What it is"],
    parts.map(({ name, what, cpuUs }) => [name, ...shown(cpuUs, oneDigit), what]),
  );

const memoryTable = (samples: readonly MemorySample[]): string =>
  table(
    ["Decisions", "Heap, MiB", "Anonymous memory, MiB", "Resident, MiB"],
    samples.map((sample) => [
      whole(sample.decisions),
      oneDigit(sample.heapUsedBytes / 2 ** 20),
      mebibytes(sample.anonymousBytes),
      mebibytes(sample.rssBytes),
    ]),
  );

const startsTable = (starts: StartTimes): string =>
  table(
    ["Records in the ledger", "Start, ms", "Range"],
    starts.map(({ records, startMs }) => [whole(records), ...shown(startMs, whole)]),
  );

const partsShown = 12;
const functionsShown = 8;

const shareTable = (
  head: string,
  items: readonly { readonly name: string; readonly selfMs: number }[],
  busyMs: number,
): string =>
  table(
    [head, "Share of busy time"],
    items.map(({ name, selfMs }) => [name, `${((selfMs / busyMs) * 100).toFixed(1)} %`]),
  );

const profileText = ({ name, sum, processCpuMs }: Profiles[number]): string => {
  const { busyMs, idleMs } = sum;
  const largest = sum.parts.slice(0, 3).map((part, index) => {
    return `${index + 1}. ${part.name}, ${((part.selfMs / busyMs) * 100).toFixed(0)} %`;
  });
  return [
    `### ${name}`,
    `The event loop was busy for ${((busyMs / (busyMs + idleMs)) * 100).toFixed(0)} % of the time. The process with its ` +
      `threads used ${(processCpuMs / busyMs).toFixed(2)} times the event loop's CPU. The three largest costs:`,
    largest.join("\n"),
    shareTable("Part", sum.parts.slice(0, partsShown), busyMs),
    shareTable("Function, by self time", sum.functions.slice(0, functionsShown), busyMs),
  ].join("\n\n");
};

const section = (heading: string, ...paragraphs: readonly string[]): string =>
  [`## ${heading}`, ...paragraphs].join("\n\n");

const sections = (results: Results): readonly string[] => {
  const { throughput, parts, modules, memory, starts, profiles, runs } = results;
  const found: string[] = [];
  if (throughput !== undefined) {
    const { checkMedianMs, checkP99Ms } = throughput;
    found.push(
      section(
        "Throughput",
        `Median of ${runs} interleaved runs. Every decision is signed, sealed, in the tree and synced to disk before its ` +
          "reply. 64 unary calls, or 8 batches of 100, are in flight on one connection; the ledger has 512 appenders.",
        throughputTable(throughput),
        `A \`Check\` takes ${oneDigit(checkMedianMs.median)} ms in the median and ${oneDigit(checkP99Ms.median)} ms at ` +
          "the 99th percentile with 64 in flight.",
      ),
    );
  }
  if (parts !== undefined) {
    found.push(
      section(
        "What a record costs",
        `Each part alone, thread pool included, over the same records of ${whole(parts.recordBytes)} bytes and ` +
          `${parts.putsPerRecord.toFixed(1)} puts.`,
        partsTable(parts),
      ),
    );
  }
  if (modules !== undefined) found.push(section("Modules", ...moduleParagraphs(modules)));
  if (memory !== undefined) {
    found.push(
      section(
        "Memory",
        "The server after a full collection. Resident memory holds LevelDB's block cache, its write buffers and the " +
          "table files it has mapped; the system takes those back when it needs them.",
        memoryTable(memory),
      ),
    );
  }
  if (starts !== undefined) {
    found.push(
      section(
        "Start",
        "From the beginning of the start to the open port. A start checks the newest 2,048 records and counts the " +
          "newest decisions into the rate windows; nothing else depends on the ledger's size.",
        startsTable(starts),
      ),
    );
  }
  if (profiles !== undefined) {
    found.push(
      section(
        "Where the time goes",
        "Samples of the event loop every half millisecond. Time inside Node counts for the part that called it.",
        ...profiles.map(profileText),
      ),
    );
  }
  return found;
};

const machineText = ({ machine }: Results): string =>
  `${machine.processor}, ${machine.cores} cores, ${oneDigit(machine.memoryBytes / 2 ** 30)} GiB, ${machine.system}, ` +
  `${machine.fileSystem}, Node ${machine.node}; ${machine.startedAt.slice(0, 10)}. Clients and servers share the cores.`;

/** For a terminal: the tables without the prose. */
export const formatTables = (results: Results): string =>
  [targetsTable(targetsOf(results)), ...sections(results)].join("\n\n");

/** The page. Written only from a full run. */
export const formatPage = (results: Results): string =>
  `${[
    "# Performance",
    "`npm run bench -- --write` measures and writes this page; `npm run bench` shows the same without writing. Every " +
      "server, client and ledger has a process of its own. Ratios are taken within one round of interleaved runs, so " +
      "they hold on a slower machine where the absolute numbers do not.",
    machineText(results),
    section("Promises", targetsTable(targetsOf(results))),
    ...sections(results),
  ].join("\n\n")}\n`;
