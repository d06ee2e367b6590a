/**
 * The contract of destinations, and their closed error union. A destination is opened, reports what it holds, and takes
 * batches in order; after any failure it is closed and reopened, so its contents are read again. Pure.
 */
import { Fault } from "@sigil/core/errors";
import type { FeedItem } from "@sigil/core/record";
import type { Lane, ReadEvent, RelayEvent } from "./event.ts";

export type RelayError =
  /** Transient: retried with exponential backoff, and not before `afterMs` if the destination asked for a delay. */
  | { readonly kind: "retryable"; readonly rule: string; readonly afterMs?: number }
  /** Needs an operator (credentials, settings): retried with a longer backoff. */
  | { readonly kind: "refused"; readonly rule: string }
  /** This event can never be delivered: the relay stops there until resumed or reset. */
  | { readonly kind: "poison"; readonly position: bigint; readonly rule: string };

/** Rules contain no payloads and no secrets. */
export class RelayFault extends Fault<RelayError> {
  constructor(error: RelayError, options?: ErrorOptions) {
    super(error, error.rule, options);
  }
}

/** Errors of the source are retryable. */
export const errorOf = (cause: unknown): RelayError =>
  cause instanceof RelayFault
    ? cause.error
    : { kind: "retryable", rule: cause instanceof Error ? cause.message : "unknown" };

/** @throws RelayFault always. */
export const failRelay = (error: RelayError, options?: ErrorOptions): never => {
  throw new RelayFault(error, options);
};

/** Codes of node:tls and OpenSSL for a certificate that does not verify, or that is asked for and not there. */
export const isCertificateCode = (code: string): boolean =>
  /CERT|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|ERR_TLS_/.test(code);

export type Holding =
  | { readonly kind: "empty" }
  /** The newest message. */
  | { readonly kind: "at"; readonly last: ReadEvent }
  /**
   * The newest message of each lane that has one, all of the newest generation there. Every position below `settled`
   * was acknowledged or filtered out: where to go on without a cursor.
   */
  | { readonly kind: "lanes"; readonly lasts: ReadonlyMap<string, ReadEvent>; readonly settled: bigint }
  /** Messages were removed by retention limits or acknowledged consumers: the persisted cursor is used. */
  | { readonly kind: "unknown" };

export type Erasure = {
  /** The ledger has erased it. */
  readonly tenant: string;
  /** Prefix of event types, of what takes an event's place. */
  readonly typePrefix: string;
  /** The relay's; what older ones hold is over for consumers. */
  readonly generation: number;
  /**
   * `count` changes nothing. `erase` changes events in their place, where the destination can. `purge old` also removes
   * older generations, where it cannot.
   */
  readonly action: "count" | "erase" | "purge old";
  /** For people. */
  readonly onProgress: (text: string) => void;
};

export type Erased = {
  /** Whether events are changed in their place: links, positions and generation stay. */
  readonly isInPlace: boolean;
  /** What was delivered is beyond reach: the counts are of what the relay itself keeps. */
  readonly isBeyondReach?: true;
  /** Events of the tenant before, with more than an erased record has. */
  readonly found: number;
  /** Of them, those that are still there. */
  readonly left: number;
  /** Newest generation with one of those left. */
  readonly newestGeneration: number | undefined;
  /** Copies out of reach, for people. */
  readonly outOfReach: readonly string[];
};

export type OpenDestination = AsyncDisposable & {
  /** Read when opened. Larger events are published by reference; batches stay within both bounds. */
  readonly limits: {
    readonly messageBytesMax: number;
    readonly batchEventsMax: number;
    readonly batchBytesMax: number;
  };
  readonly lastPublished: () => Promise<Holding>;
  /** Of destinations with several ordered lanes: the one that a record belongs to. Absent where there is one. */
  readonly laneOf?: (item: FeedItem) => string;
  /** Each id is a lane of its own, and each erased record: more than a cursor could hold. */
  readonly lanes?: "ids";
  /** Encodes events that `publish` gets next, while it waits for those before: a hint. */
  readonly prepare?: (events: readonly RelayEvent[]) => void;
  /** Durable, and in order within each lane, when it resolves. @throws RelayFault; a prefix may have been published. */
  readonly publish: (events: readonly RelayEvent[], signal: AbortSignal) => Promise<void>;
  /**
   * Takes back what was published of a tenant. Idempotent; a crash leaves whole events, and the next call goes on. The
   * destination is closed afterwards. Absent if nothing can be taken back. @throws RelayFault.
   */
  readonly erase?: ((erasure: Erasure, signal: AbortSignal) => Promise<Erased>) | undefined;
};

/** Records of one id that wait behind one that was refused; only of destinations that order by key. */
export type StoppedKey = {
  /** `tenant/space/id`, percent-encoded. */
  readonly key: string;
  /** Of the refused record. */
  readonly position: bigint;
  /** Records held back, the refused one included. */
  readonly pending: number;
  readonly rule: string;
};

/**
 * Reads a published event again, in its lane. @returns undefined if the filter leaves it out by now, as it does erased
 * records.
 */
export type ReadEventAgain = (
  position: bigint,
  lane: Lane,
  messageBytesMax: number,
  signal: AbortSignal,
) => Promise<RelayEvent | undefined>;

export type Destination = {
  /** For status output; contains no secrets. */
  readonly describe: () => string;
  /** @throws RelayFault. */
  readonly open: (signal: AbortSignal, again: ReadEventAgain) => Promise<OpenDestination>;
  readonly stoppedKeys?: () => readonly StoppedKey[];
  /** The next `open` retries every stopped key. */
  readonly retryStopped?: () => void;
};
