/**
 * kill −9 of an export of tiles at random steps, repeatedly, on one directory: whoever reads it, at any moment, sees a
 * whole log, no smaller than before. `npm run campaign:tiles -- --count 100 --seed 7`. Exit code 0 only then.
 */
import { readOptions } from "./options.ts";
import { killExports } from "./tile-kills.ts";

const { values, refuse } = readOptions("campaign:tiles [--count N] [--seed S]", "--count 100 --seed 7", {
  count: { type: "string", default: "100" },
  seed: { type: "string", default: "1" },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) refuse();

const startedMs = performance.now();
const { reads, moved, size } = await killExports({ count, seed });
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${count} kills, ${moved} after the log had grown, ${reads} reads of a whole log, ${size} entries, ` +
    `seed ${seed}, ${seconds} s`,
);
