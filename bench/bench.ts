/**
 * `npm run bench`: runs every benchmark in separate processes, in interleaved runs.
 *
 *   --feed         the relay, projections and their lag instead, on the console alone (feed.ts)
 *   --proofs       checks that carry their proof, and proofs of a growing ledger instead, on the console alone
 *   --quick        one short run of each: does everything still run?
 *   --only NAME    throughput, parts, modules, memory or profile; with --feed nats, kafka, rebuild, mongo, dynamo, lag
 *                  or outage; may be repeated
 *   --json         the results as JSON on standard output, nothing else there
 *   --write        writes docs/operating/performance.md; needs a full run
 *   --directory    where the scratch ledgers go, a real disk; default the system's temporary directory
 */
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { cpus, release, tmpdir, totalmem, type } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { feedParts, measureFeed } from "./feed.ts";
import { measureMemory, measureParts, measureProfiles, measureThroughput, type Scale } from "./measure.ts";
import { measureProofs } from "./proofs.ts";
import { measureModules } from "./measure-modules.ts";
import { formatPage, formatTables, targetsOf } from "./page.ts";
import type { Machine, Results } from "./results.ts";

const page = join(import.meta.dirname, "..", "docs", "operating", "performance.md");

const full: Scale = {
  runs: 5,
  warmUpMs: 5000,
  runMs: 3000,
  levelGroups: 50,
  partGroups: 10,
  memoryDecisions: [50_000, 100_000, 150_000, 200_000],
  smallLedgerRecords: 10_000,
  starts: 5,
  sandboxRuns: 400,
};

const quick: Scale = {
  runs: 1,
  warmUpMs: 300,
  runMs: 700,
  levelGroups: 4,
  partGroups: 2,
  memoryDecisions: [500, 1000],
  smallLedgerRecords: 300,
  starts: 1,
  sandboxRuns: 40,
};

const groups = ["throughput", "parts", "modules", "memory", "profile"] as const;
type Group = (typeof groups)[number];

const usage = (rule: string): never => {
  console.error(`bench: ${rule}`);
  process.exit(2);
};

/** All of them where none is named. */
const readOnly = <Name extends string>(names: readonly string[], all: readonly Name[]): readonly Name[] =>
  names.length === 0
    ? all
    : names.map((name) => all.find((one) => one === name) ?? usage(`--only is one of ${all.join(", ")}`));

const fileSystems: Readonly<Record<string, string>> = {
  "61267": "ext4",
  "2435016766": "btrfs",
  "1481003842": "xfs",
  "16914836": "tmpfs",
  "2035054128": "overlay",
};

const describeMachine = async (directory: string): Promise<Machine> => {
  const [processor] = cpus();
  const { type: fileSystem } = await statfs(directory);
  return {
    processor: processor?.model.trim() ?? "unknown processor",
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    fileSystem: fileSystems[String(fileSystem)] ?? "a file system it does not name",
    startedAt: new Date().toISOString(),
  };
};

const { values: options } = parseArgs({
  options: {
    feed: { type: "boolean", default: false },
    proofs: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    directory: { type: "string", default: tmpdir() },
  },
});
if (options.proofs && (options.feed || options.json || options.write || options.only.length > 0))
  usage("--proofs goes with --quick and --directory alone");
if (options.feed && (options.json || options.write))
  usage("--feed has no page: leave --json and --write out");
const chosenParts = options.feed ? readOnly(options.only, feedParts) : [];
const chosen = options.feed ? [] : readOnly(options.only, groups);
if (options.write && (options.quick || chosen.length < groups.length)) usage("--write needs a full run");
const scale = options.quick ? quick : full;
const directory = await mkdtemp(join(options.directory, "sigil-bench-"));
const say = (line: string): void => console.error(line);

const measureServer = async (): Promise<void> => {
  const has = (group: Group): boolean => chosen.includes(group);
  const machine = await describeMachine(directory);
  const results: Results = {
    machine,
    runs: scale.runs,
    ...(has("throughput") ? { throughput: await measureThroughput(directory, scale, say) } : {}),
    ...(has("parts") ? { parts: await measureParts(directory, scale, say) } : {}),
    ...(has("modules") ? { modules: await measureModules(directory, scale, say) } : {}),
    ...(has("memory") ? await measureMemory(directory, scale, say) : {}),
    ...(has("profile") ? { profiles: await measureProfiles(directory, scale, say) } : {}),
  };
  console.log(options.json ? JSON.stringify(results, undefined, 2) : formatTables(results));
  if (options.write) await writeFile(page, formatPage(results));
  // A quick run is too short to judge targets.
  if (!options.quick && targetsOf(results).some(({ isMet }) => !isMet)) process.exitCode = 1;
};

try {
  if (options.feed) await measureFeed(chosenParts, { isQuick: options.quick, directory });
  else if (options.proofs) await measureProofs(directory, options.quick);
  else await measureServer();
} finally {
  await rm(directory, { recursive: true, force: true });
}
