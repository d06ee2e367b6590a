/** The modules' part of the page: target, throughput, and the cost of the sandbox. */
import { atLeast, oneDigit, shown, table, whole, type Row } from "./page-cells.ts";
import type { ModuleRuns, SandboxCosts, Target } from "./results.ts";
import { ratioOf, type Measured } from "./statistics.ts";

export const moduleTargets = ({ runPerSecond, checkPerSecond, inFlight }: ModuleRuns): readonly Target[] => [
  atLeast(
    `A warm \`Run\` of \`hello\` beside \`Check\`, ${inFlight} of each in flight`,
    1 / 3,
    ratioOf(runPerSecond, checkPerSecond),
  ),
];

const milliseconds = (value: number): string => value.toFixed(value < 10 ? 3 : 0);

const sandboxTable = (parts: SandboxCosts): string =>
  table(
    ["Part", "ms", "Range", "What it is"],
    parts.map(({ name, what, ms }) => [name, ...shown(ms, milliseconds), what]),
  );

const runsTable = (modules: ModuleRuns): string => {
  const row = (name: string, perSecond: Measured, cpuUs: Measured): Row => [
    name,
    ...shown(perSecond, whole),
    whole(cpuUs.median),
  ];
  return table(
    ["What", "A second, median", "Range", "CPU µs each, server process"],
    [
      row("`Check`, unary", modules.checkPerSecond, modules.checkCpuUs),
      row("`Run` of `hello`, warm", modules.runPerSecond, modules.runCpuUs),
    ],
  );
};

export const moduleParagraphs = (modules: ModuleRuns): readonly string[] => [
  `${modules.inFlight} calls in flight, in interleaved runs on one server. A \`Run\` commits two records, the decision before the code ` +
    "is touched and the run after it ended; a `Check` commits one.",
  runsTable(modules),
  `A \`Run\` takes ${oneDigit(modules.runMedianMs.median)} ms in the median and ${oneDigit(modules.runP99Ms.median)} ms at the 99th ` +
    "percentile. The sandbox by itself, one run after the other in one process:",
  sandboxTable(modules.sandbox),
];
