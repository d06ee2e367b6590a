/**
 * `npm run bench:compare -- --before DIRECTORY`: compares the server of another checkout with this one's, under the
 * same load from the same client, in interleaved rounds. The other one runs twice, to show the spread of the same code
 * against itself (A/A).
 *
 * --before DIRECTORY a checkout of the other commit, its packages installed (`git worktree add`, `npm ci`) --rounds N
 * default 7 --run-ms N how long each load runs in a round; default 3000 --directory where the scratch ledgers go, a
 * real disk; default the system's temporary directory
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { startActor, type Actor } from "./actor.ts";
import { makeScratchOf } from "./checkout.ts";
import { runClient } from "./measure.ts";
import type { Scratch } from "./scratch.ts";
import { measure, ratioOf, type Measured } from "./statistics.ts";

const { values: options } = parseArgs({
  options: {
    before: { type: "string" },
    rounds: { type: "string", default: "7" },
    "run-ms": { type: "string", default: "3000" },
    directory: { type: "string", default: tmpdir() },
  },
});
if (options.before === undefined) {
  console.error("bench:compare: --before names a checkout of the commit to compare with");
  process.exit(2);
}
const [before, after] = [resolve(options.before), resolve(import.meta.dirname, "..")];
const rounds = Number(options.rounds);
const scale = { warmUpMs: 1000, runMs: Number(options["run-ms"]) };

const loads = {
  Check: { rpc: "check", inFlight: 64 },
  BatchCheck: { rpc: "batch", inFlight: 8 },
} as const;

type Side = { readonly name: string; readonly scratch: Scratch; readonly server: Actor };

const startSide = async (checkout: string, directory: string, name: string): Promise<Side> => {
  const scratch = await makeScratchOf(checkout, directory, name);
  return { name, scratch, server: startActor(join(checkout, "bench", "serve-sigil.ts"), scratch) };
};

const percent = (value: number): string => value.toFixed(3);
const format = ({ median, low, high }: Measured, text = percent): string =>
  `${text(median)} (${text(low)}–${text(high)})`;

const directory = await mkdtemp(join(options.directory, "sigil-compare-"));
try {
  const sides = [
    await startSide(before, directory, "before"),
    await startSide(before, directory, "before-again"),
    await startSide(after, directory, "after"),
  ];
  const rates = new Map<string, number[]>();
  const costs = new Map<string, number[]>();
  const put = (into: Map<string, number[]>, key: string, value: number): void => {
    into.set(key, [...(into.get(key) ?? []), value]);
  };
  for (let round = 0; round < rounds; round += 1) {
    console.error(`round ${round + 1} of ${rounds}`);
    for (const [load, drive] of Object.entries(loads)) {
      for (let turn = 0; turn < sides.length; turn += 1) {
        const side = sides[(turn + round) % sides.length];
        if (side === undefined) continue;
        const run = await runClient(side.server, side.scratch, drive, scale);
        put(rates, `${load} ${side.name}`, run.perSecond);
        put(costs, `${load} ${side.name}`, run.cpuUs);
      }
    }
  }
  for (const load of Object.keys(loads)) {
    const of = (from: Map<string, number[]>, name: string): Measured =>
      measure(from.get(`${load} ${name}`) ?? []);
    for (const [what, from, text] of [
      ["decisions a second", rates, (value: number) => value.toFixed(0)],
      ["processor µs a decision", costs, (value: number) => value.toFixed(1)],
    ] as const) {
      console.log(`${load}, ${what}: before ${format(of(from, "before"), text)}`);
      console.log(`  after ÷ before          ${format(ratioOf(of(from, "after"), of(from, "before")))}`);
      console.log(
        `  before again ÷ before   ${format(ratioOf(of(from, "before-again"), of(from, "before")))}`,
      );
    }
  }
  for (const { server } of sides) await server.stop();
} finally {
  await rm(directory, { recursive: true, force: true });
}
