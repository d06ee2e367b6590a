/** What a relay says of itself: to its command, to metrics and to the log. */
import type { RelayError, StoppedKey } from "./destination.ts";

export type RelayState =
  /** Connecting and finding the resume position. */
  | "starting"
  | "running"
  /** Failed; retries after a backoff. */
  | "waiting"
  /** At a poison event, until resumed or reset. */
  | "stopped"
  | "paused"
  /** Takes back what it published of a tenant; publishes nothing meanwhile. */
  | "erasing"
  | "closed";

export type RelayStatus = {
  readonly name: string;
  readonly destination: string;
  readonly state: RelayState;
  readonly generation: number;
  /** Positions below it were acknowledged or filtered out. */
  readonly next: bigint;
  /** Records of the ledger from `next` on. */
  readonly lag: bigint;
  /** Approximate age of the oldest of them; 0 if none. */
  readonly lagMs: number;
  /** Events acknowledged since the server started. */
  readonly published: bigint;
  /** Current failure. */
  readonly error: RelayError | undefined;
  /** Of a destination that orders by key. */
  readonly stopped: readonly StoppedKey[];
  /** Of an erasure under way, for people. */
  readonly progress: string | undefined;
};
