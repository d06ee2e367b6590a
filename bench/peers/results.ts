/** What the comparison came to, as `--json` prints it. Names end in units; costs are a decision's. */
import type { Machine } from "../results.ts";
import type { LoadName, ServerId } from "./served.ts";

/** One load for its time. */
export type Sample = {
  /** Decisions. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the server's process. */
  readonly cpuUs: number;
  /** By the server's process, to disk. */
  readonly writtenBytes: number;
  /** Largest while it ran. */
  readonly rssBytes: number;
  /** Processors that neither the server nor the generator had. */
  readonly othersCores: number;
};

/** A row: a server under a load. A failure stands instead of its samples: they count for nothing. */
export type Cell = {
  readonly server: ServerId;
  readonly load: LoadName;
  readonly title: string;
  readonly promise: string;
  /** A sample a round. */
  readonly full: readonly Sample[];
  /** At half of the rate of the same round's; empty for loads that have no half. */
  readonly half: readonly Sample[];
  readonly failure?: string;
};

/** What a server has kept of all the decisions that it was asked for. */
export type Kept = {
  readonly server: ServerId;
  readonly decisions: number;
  readonly bytesEach: number;
};

export type LeftOut = { readonly what: string; readonly why: string };

export type PeerResults = {
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly leftOut: readonly LeftOut[];
  readonly cells: readonly Cell[];
  readonly kept: readonly Kept[];
};
