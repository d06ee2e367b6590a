/** What an attack is: something to prepare once, and waves of a few seconds each. */
import type { EnrolledLevel } from "../../e2e/deployment.ts";
import type { SigilConnection } from "@sigil/client";

export type World = {
  readonly target: string;
  readonly operatorUrl: string;
  /** A token of a level's principal, good for some minutes. */
  readonly token: (level: EnrolledLevel) => string;
  readonly as: (level: EnrolledLevel | "guest") => SigilConnection;
  /** Pseudo-random from the campaign's seed, 0 to 1. */
  readonly random: () => number;
};

export type Attack = {
  readonly name: string;
  readonly what: string;
  /** The most files that the server may open; as many as the system gives unless told. */
  readonly descriptors?: number;
  readonly prepare?: (world: World) => Promise<void>;
  /** One wave; leaves nothing open behind it. @returns what came of it, for people. */
  readonly wave: (world: World) => Promise<string>;
};

/** How often each outcome came, for people. */
export const tally = (outcomes: readonly string[]): string => {
  const counts = Map.groupBy(outcomes, (outcome) => outcome);
  return [...counts].map(([outcome, all]) => `${all.length}×${outcome}`).join(" ");
};
