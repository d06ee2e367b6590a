/**
 * The sandbox under mutated modules, and under many runs. `npm run campaign:modules -- --count 2000 --seed 7` mutates
 * valid modules at random; `-- --runs 5000` runs modules in sequence, one in fifty hostile. Exit code 0 only if nothing
 * went wrong.
 */
import { assembleFile } from "../hostile/assemble.ts";
import { openSandbox, requestOf } from "../hostile/runs.ts";
import { runMutations } from "./module-mutations.ts";
import { describeHeld, runInARow } from "./module-runs.ts";
import { readOptions } from "./options.ts";

const { values, refuse } = readOptions(
  "campaign:modules [--count N] [--seed S] [--runs N]",
  "--count 2000 --seed 7",
  { count: { type: "string" }, seed: { type: "string", default: "1" }, runs: { type: "string" } },
);
const runs = Number(values.runs ?? 0);
const count = Number(values.count ?? (runs > 0 ? 0 : 2000));
const seed = Number(values.seed);
if (![runs, count, seed].every(Number.isInteger) || runs < 0 || count < 0) refuse();

const processes = 2;
const wrongs: string[] = [];

/** A quantile of an ascending list, in milliseconds. */
const at = (sorted: readonly number[], share: number): string =>
  (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);

const mutations = async (): Promise<void> => {
  await using sandbox = await openSandbox({ processes });
  const onRun = (done: number): void => {
    if (done % 500 === 0) console.log(`${done} of ${count} damaged modules`);
  };
  const result = await runMutations(sandbox, { count, seed, onRun });
  wrongs.push(...result.wrongs, ...sandbox.faults.map((fault) => `a process failed: ${String(fault)}`));
  for (const [end, times] of [...result.ends].sort((a, b) => b[1] - a[1])) console.log(`${times} ${end}`);
  const { lateMs } = result;
  console.log(
    `killed late by ${at(lateMs, 0.5)} ms (median), ${at(lateMs, 0.95)} ms (95 %), ${at(lateMs, 1)} ms (most)`,
  );
};

const inARow = async (): Promise<void> => {
  await using sandbox = await openSandbox({ processes });
  const fine = await assembleFile("read-past-end");
  const hostile = await Promise.all(
    ["memory-bomb", "output-flood", "unreachable", "endless-loop"].map(assembleFile),
  );
  const input = new Uint8Array(2000);
  const result = await runInARow(sandbox, {
    runs,
    processes,
    requestOf: (run) => {
      const harmful = run % 50 === 49 ? hostile[Math.floor(run / 50) % hostile.length] : undefined;
      return requestOf(harmful ?? fine, { input, limits: { wallMs: harmful === undefined ? 5000 : 100 } });
    },
    onRun: (done) => {
      if (done % 1000 === 0)
        console.log(`${done} of ${runs} runs, ${sandbox.gauge.restarts} processes replaced`);
    },
  });
  wrongs.push(...result.wrongs, ...sandbox.faults.map((fault) => `a process failed: ${String(fault)}`));
  console.log(`before: ${describeHeld(result.before)}`);
  console.log(`after:  ${describeHeld(result.after)}`);
};

const startedMs = performance.now();
if (count > 0) await mutations();
if (runs > 0) await inARow();
for (const wrong of wrongs) console.error(wrong);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${count} damaged modules, ${runs} runs in a row, ${wrongs.length} wrong, seed ${seed}, ${seconds} s`,
);
process.exitCode = wrongs.length === 0 ? 0 : 1;
