/**
 * `npm run bench`: runs every benchmark in separate processes, in interleaved runs. Its options are in help.ts, which
 * `--help` prints.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { feedParts, measureFeed } from "./feed.ts";
import { helpText } from "./help.ts";
import { describeMachine } from "./machine.ts";
import { measureMemory, measureParts, measureProfiles, measureThroughput, type Scale } from "./measure.ts";
import { measureProofs } from "./proofs.ts";
import { measureModules } from "./measure-modules.ts";
import { formatPage, formatTables, targetsOf } from "./page.ts";
import { peerParts, peersScale, runPeers } from "./peers/command.ts";
import type { Results } from "./results.ts";

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

const { values: options } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    feed: { type: "boolean", default: false },
    peers: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    before: { type: "string", multiple: true, default: [] },
    proofs: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    directory: { type: "string", default: tmpdir() },
  },
});
if (options.help) {
  console.log(helpText);
  process.exit(0);
}
if ([options.feed, options.peers, options.proofs].filter(Boolean).length > 1)
  usage("--feed, --peers and --proofs go one at a time");
if (options.proofs && (options.json || options.write || options.only.length > 0))
  usage("--proofs goes with --quick and --directory alone");
if (options.feed && (options.json || options.write))
  usage("--feed has no page: leave --json and --write out");
if (!options.peers && (options.rounds ?? options.seconds ?? options.before[0]) !== undefined)
  usage("--rounds, --seconds and --before go with --peers");
const chosenFeed = options.feed ? readOnly(options.only, feedParts) : [];
const chosenPeers = options.peers && options.only.length > 0 ? readOnly(options.only, peerParts) : [];
const peersPace = options.peers ? peersScale(options, usage) : undefined;
const chosen = options.feed || options.peers ? [] : readOnly(options.only, groups);
if (options.write && !options.peers && (options.quick || chosen.length < groups.length))
  usage("--write needs a full run");
if (options.write && options.peers && (options.quick || options.only.length > 0 || options.before.length > 0))
  usage("--peers --write needs a full run: leave --quick, --only and --before out");
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
  if (options.feed) await measureFeed(chosenFeed, { isQuick: options.quick, directory });
  else if (peersPace !== undefined) {
    const { before, json, write } = options;
    const machine = await describeMachine(directory);
    await runPeers({ ...peersPace, only: chosenPeers, before, directory, machine, say }, { json, write });
  } else if (options.proofs) await measureProofs(directory, options.quick);
  else await measureServer();
} finally {
  await rm(directory, { recursive: true, force: true });
}
