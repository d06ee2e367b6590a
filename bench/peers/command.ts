/** `--peers` on the command line: its pace, its output, its exit code, and its end on SIGINT and SIGTERM. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repository, run } from "../../scripts/run.ts";
import { measurePeers, type PeersPlan } from "./peers.ts";
import { ratiosOf } from "./ratios.ts";
import type { PeerResults } from "./results.ts";
import type { Pace } from "./rounds.ts";
import { formatPeersPage, formatPeerTables } from "./table.ts";

export { peerParts } from "./peers.ts";

const page = "docs/operating/peers.md";

const full: Pace = { rounds: 3, seconds: 5 };
const quick: Pace = { rounds: 1, seconds: 1 };
const roundsMax = 100;
const secondsMax = 300;

export type PeersPace = Pace & { readonly isQuick: boolean };

/** @param refuse ends with what is wrong. */
export const peersScale = (
  options: { readonly quick: boolean; readonly rounds?: string; readonly seconds?: string },
  refuse: (rule: string) => never,
): PeersPace => {
  const base = options.quick ? quick : full;
  const rounds = Number(options.rounds ?? base.rounds);
  const seconds = Number(options.seconds ?? base.seconds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > roundsMax)
    refuse(`--rounds is a whole number from 1 to ${roundsMax}`);
  if (!(seconds >= 0.5 && seconds <= secondsMax)) refuse(`--seconds is 0.5 to ${secondsMax}`);
  return { rounds, seconds, isQuick: options.quick };
};

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/** Failed cells always count; what is wanted, only in a run long enough to judge. */
const exitCodeOf = (results: PeerResults, isQuick: boolean): number => {
  if (results.cells.some(({ failure }) => failure !== undefined)) return 1;
  return !isQuick && ratiosOf(results).some(({ outcome }) => outcome === "not met") ? 1 : 0;
};

export const runPeers = async (
  plan: Omit<PeersPlan, "signal"> & PeersPace,
  output: { readonly json: boolean; readonly write: boolean },
): Promise<void> => {
  const controller = new AbortController();
  const end = (signal: keyof typeof exitCodes): void => {
    process.exitCode = exitCodes[signal];
    controller.abort();
  };
  process.on("SIGINT", end).on("SIGTERM", end);
  try {
    const results = await measurePeers({ ...plan, signal: controller.signal });
    console.log(output.json ? JSON.stringify(results, undefined, 2) : formatPeerTables(results));
    if (output.write && results.cells.length > 0) {
      await writeFile(join(repository, page), formatPeersPage(results));
      await run(["oxfmt", page]);
    }
    process.exitCode = exitCodeOf(results, plan.isQuick);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    plan.say("ended before it was done");
  } finally {
    process.off("SIGINT", end).off("SIGTERM", end);
  }
};
