/**
 * `npm run bench -- --proofs`: checks whose answers carry their proof beside plain ones of the same server, in rounds
 * that take turns; and what proofs of a ledger take as it grows tenfold: time of each, and bytes. A proof is of a
 * record at random, by the newest checkpoint, in a process that nobody else asks.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startActor } from "./actor.ts";
import type { Drive, DriveInput, Driven } from "./drive-calls.ts";
import { describeRates, inTurns } from "./feed-scale.ts";
import type { ProofSizes } from "./weigh-proofs.ts";
import { makeScratch } from "./scratch.ts";

const inFlight = 64;
const full = { rounds: 5, runMs: 3000, warmUpMs: 5000, records: 1_000_000 } as const;
const quick = { rounds: 1, runMs: 500, warmUpMs: 300, records: 10_000 } as const;

type Scale = { readonly [Name in keyof typeof full]: number };

const measureChecks = async (
  directory: string,
  { rounds, runMs, warmUpMs }: Scale,
): Promise<readonly string[]> => {
  const scratch = await makeScratch(directory, "checks");
  await using served = startActor("serve-sigil.ts", scratch);
  const target = await served.ask<string>("target");
  await using client = startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);
  const drive = async (rpc: Drive["rpc"], legMs: number): Promise<number> => {
    const { decisions, elapsedMs } = await client.ask<Driven>("drive", {
      rpc,
      inFlight,
      runMs: legMs,
    } satisfies Drive);
    return (decisions * 1000) / elapsedMs;
  };
  const loads = ["inclusion", "evidence", "check"] as const;
  for (const load of loads) await drive(load, warmUpMs);
  const rates = await inTurns(loads, rounds, (load) => drive(load, runMs));
  const check = "check";
  return [
    ...describeRates(rates, "answers", ["inclusion", check]),
    ...describeRates(rates, "answers", ["evidence", check]).slice(-1),
  ];
};

const columns = ["records", "inclusion", "consistency", "evidence"] as const;

const rowOf = ({ records, inclusion, consistency, evidence }: ProofSizes): string =>
  [
    String(records),
    ...[inclusion, consistency, evidence].map(
      ({ medianUs, bytes }) => `${medianUs.toFixed(0)} µs ${bytes} B`,
    ),
  ]
    .map((cell) => cell.padStart(20))
    .join("");

const measureGrowth = async (directory: string, { records }: Scale): Promise<readonly string[]> => {
  const scratch = await makeScratch(directory, "growth");
  await using ledger = startActor("weigh-proofs.ts", scratch);
  const lines = [columns.map((name) => name.padStart(20)).join("")];
  for (let size = 1000; size <= records; size *= 10)
    lines.push(rowOf(await ledger.ask<ProofSizes>("weigh", size)));
  return lines;
};

/** Shows each part as it is done. */
export const measureProofs = async (parent: string, isQuick: boolean): Promise<void> => {
  const scale = isQuick ? quick : full;
  const directory = join(parent, "proofs");
  await mkdir(directory);
  const show = (title: string, lines: readonly string[]): void =>
    console.log(`${title}\n${lines.map((line) => `  ${line}`).join("\n")}`);
  show(`checks, ${inFlight} in flight`, await measureChecks(directory, scale));
  show("proofs of a growing ledger", await measureGrowth(directory, scale));
};
