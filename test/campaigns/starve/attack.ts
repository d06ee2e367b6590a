/** The definition of an attack: a preparation, and waves of a few seconds each. */
import type { EnrolledLevel } from "../../e2e/deployment.ts";
import type { SigilConnection } from "@sigil/client";

export type World = {
  readonly target: string;
  readonly operatorUrl: string;
  /** A token of the level's principal, valid for some minutes. */
  readonly token: (level: EnrolledLevel) => string;
  readonly as: (level: EnrolledLevel | "guest") => SigilConnection;
  /** Pseudo-random from the campaign's seed, 0 to 1. */
  readonly random: () => number;
};

export type Attack = {
  readonly name: string;
  readonly what: string;
  /** The server's limit of open files; default: the system's. */
  readonly descriptors?: number;
  readonly prepare?: (world: World) => Promise<void>;
  /** Runs one wave; leaves nothing open. @returns a summary. */
  readonly wave: (world: World) => Promise<string>;
};

/** Counts outcomes, for display. */
export const tally = (outcomes: readonly string[]): string => {
  const counts = Map.groupBy(outcomes, (outcome) => outcome);
  return [...counts].map(([outcome, all]) => `${all.length}×${outcome}`).join(" ");
};
