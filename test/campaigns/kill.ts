/**
 * kill −9 under load, repeatedly, on one data directory: after each kill every acknowledged record must exist exactly
 * once, at its position, verified; at the end fsck checks the whole ledger. `npm run campaign:kill -- --count 1000
 * --seed 7`. Exit code 0 only if nothing was lost.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { createDeployment, openOptions } from "./deployment.ts";
import { readOptions } from "./options.ts";
import { runKills } from "./oracle.ts";

const { values, refuse } = readOptions("campaign:kill [--count N] [--seed S]", "--count 1000 --seed 7", {
  count: { type: "string", default: "100" },
  seed: { type: "string", default: "1" },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) refuse();

const root = await mkdtemp(join(tmpdir(), "sigil-kill-"));
const startedMs = performance.now();
await createDeployment(root);
const result = await runKills(root, {
  count,
  seed,
  onRound: ({ round, acknowledged }) => {
    if (round % 10 === 0) console.log(`${round} of ${count} kills, ${acknowledged} records acknowledged`);
  },
});
const report = await runFsck(await describeDeployment(openOptions(root)));
const wrongs = [
  ...result.wrongs,
  ...report.problems.map(({ position, step, rule }) => `fsck: ${position ?? "-"} ${step}: ${rule}`),
];
for (const wrong of wrongs) console.error(wrong);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${result.kills} kills (${result.killsDuringStart} during start), ${result.acknowledged} acknowledged, ` +
    `${report.size} records, ${wrongs.length} wrong, seed ${seed}, ${seconds} s`,
);
if (wrongs.length === 0) await rm(root, { recursive: true });
else console.error(`the data directory is kept: ${root}`);
process.exitCode = wrongs.length === 0 ? 0 : 1;
