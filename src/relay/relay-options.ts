/** What a relay is started with, and whom it tells. */
import type { Destination, RelayError } from "./destination.ts";
import type { EventOptions } from "./event.ts";
import type { Filter } from "./plan.ts";
import type { RelayState } from "./relay-status.ts";
import type { FeedSource } from "./source.ts";

export type RelayObserver = {
  readonly onState: (state: RelayState, error: RelayError | undefined) => void;
  readonly onFailure: (kind: RelayError["kind"]) => void;
  /** The destination lost acknowledged positions; they are republished. */
  readonly onLost: (from: bigint, until: bigint) => void;
  readonly onPublished: (events: number) => void;
};

export type RelayOptions = {
  readonly name: string;
  readonly source: FeedSource;
  readonly destination: Destination;
  readonly filter: Filter;
  readonly event: Omit<EventOptions, "origin">;
  /** First position of the first generation. */
  readonly from: bigint;
  readonly cursorPath: string;
  readonly observer: RelayObserver;
  readonly nowMs: () => number;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  /** Resolves after the delay or when the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Yields to the event loop between batches, so a relay that catches up delays no calls. */
  readonly turn: () => Promise<void>;
  /** Fault injection for tests: awaited between steps; never resolving acts as a kill. */
  readonly onStep?: (step: RelayStep) => Promise<void>;
};

export type RelayStep =
  | "opening"
  | "opened"
  | "held"
  | "matched"
  | "read"
  | "publishing"
  | "published"
  | "cursor moved"
  | "passed over";
