/**
 * `npm run bench:http`: HTTP beside gRPC on one server, asked the same by one client in rounds that take turns. Prints
 * decisions a second and the server's processor time a decision, and the ratios within a round.
 *
 *   --rounds N      7 unless told
 *   --run-ms N      how long each load runs in a round; 3000 unless told
 *   --directory D   where the scratch ledger goes, a real disk; the system's temporary directory unless told
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startActor } from "./actor.ts";
import type { Driven } from "./drive-calls.ts";
import type { WireDrive, WireInput, WireLoad } from "./drive-wire.ts";
import { makeScratch } from "./scratch.ts";
import { measure, ratioOf, type Measured } from "./statistics.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    "run-ms": { type: "string", default: "3000" },
    directory: { type: "string", default: tmpdir() },
  },
});
const rounds = Number(options.rounds);
const runMs = Number(options["run-ms"]);
const warmUpMs = 1000;

const loads: readonly (readonly [load: WireLoad, inFlight: number])[] = [
  ["grpcCheck", 64],
  ["httpCheck", 64],
  ["grpcBatch", 8],
  ["authzenBatch", 8],
];
const pairs = [
  { name: "HTTP check ÷ gRPC check", above: "httpCheck", below: "grpcCheck" },
  { name: "AuthZEN execute_all of 100 ÷ BatchCheck of 100", above: "authzenBatch", below: "grpcBatch" },
] as const;

const format = ({ median, low, high }: Measured, digits: number): string =>
  `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;

const directory = await mkdtemp(join(options.directory, "sigil-http-"));
try {
  const scratch = await makeScratch(directory, "served");
  await using server = startActor("serve-sigil.ts", scratch);
  const [grpcTarget, httpUrl] = [await server.ask<string>("target"), await server.ask<string>("httpUrl")];
  const rates = new Map<WireLoad, number[]>(loads.map(([load]) => [load, []]));
  const costs = new Map<WireLoad, number[]>(loads.map(([load]) => [load, []]));
  for (let round = 0; round < rounds; round += 1) {
    console.error(`round ${round + 1} of ${rounds}`);
    for (let turn = 0; turn < loads.length; turn += 1) {
      const [load, inFlight] = loads[(turn + round) % loads.length] ?? ["grpcCheck", 64];
      await using client = startActor("drive-wire.ts", { scratch, grpcTarget, httpUrl } satisfies WireInput);
      await client.ask("drive", { load, inFlight, runMs: warmUpMs } satisfies WireDrive);
      const before = await server.usage();
      const { decisions, elapsedMs } = await client.ask<Driven>("drive", {
        load,
        inFlight,
        runMs,
      } satisfies WireDrive);
      const after = await server.usage();
      rates.get(load)?.push((decisions * 1000) / elapsedMs);
      costs.get(load)?.push((after.cpuUs - before.cpuUs) / decisions);
    }
  }
  const rateOf = (load: WireLoad): Measured => measure(rates.get(load) ?? []);
  const costOf = (load: WireLoad): Measured => measure(costs.get(load) ?? []);
  for (const [load] of loads) {
    console.log(`${load}: ${format(rateOf(load), 0)} decisions a second, ${format(costOf(load), 1)} µs each`);
  }
  for (const { name, above, below } of pairs) {
    console.log(`${name}: rate ${format(ratioOf(rateOf(above), rateOf(below)), 3)}`);
    console.log(`  processor time ${format(ratioOf(costOf(above), costOf(below)), 3)}`);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
