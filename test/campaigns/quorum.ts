/**
 * Checks the rules of proposals against a recount from a log, over many random schedules: never a commit with fewer
 * than k distinct valid attestations, always one with k. `npm run campaign:quorum -- --count 100000 --seed 7`. Exit
 * code 0 only if they agree.
 */
import { readOptions } from "./options.ts";
import { runSchedules, settingsCount } from "./quorum-schedules.ts";

const { values, refuse } = readOptions("campaign:quorum [--count N] [--seed S]", "--count 100000 --seed 7", {
  count: { type: "string", default: "100000" },
  seed: { type: "string", default: "1" },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) refuse();

const startedMs = performance.now();
const { schedules, commits, reasons, wrongs } = runSchedules({
  count,
  seed,
  onSchedule: (done) => {
    if (done % 10_000 === 0) console.log(`${done} of ${count} schedules`);
  },
});
for (const wrong of wrongs) console.error(wrong);
for (const [reason, times] of reasons) console.log(`refused ${times} times: ${reason}`);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${schedules} schedules over ${settingsCount} settings, ${commits} commits, ` +
    `${wrongs.length === 0 ? "none" : "one"} wrong, seed ${seed}, ${seconds} s`,
);
process.exitCode = wrongs.length === 0 ? 0 : 1;
