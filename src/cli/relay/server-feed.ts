/**
 * A server's ledger as a process of relays reads it: `Watch` over gRPC by a principal with a feed grant, verified from
 * the genesis record's hash before anything is published. A stream that breaks off after it began is opened again where
 * it was; one that does not begin is a failure of the relay, which backs off.
 * Bounds: of each relay one batch of the feed, and one that is read ahead.
 */
import { setTimeout as pause } from "node:timers/promises";
import {
  ForkError,
  ProofError,
  SigilError,
  Space,
  walkKeys,
  watchVerified,
  type SigilConnection,
  type VerifiedEvent,
  type WatchRequest,
} from "@sigil/client";
import { fromHex, parseHash, type Hash } from "@sigil/core/bytes";
import { assert } from "@sigil/core/errors";
import {
  allMark,
  decodeEnvelope,
  parseRecordStatement,
  rawBytesOf,
  systemTenant,
  type Disclosing,
  type FeedBatch,
  type FeedItem,
} from "@sigil/core/record";
import {
  feedBatchBytesMax,
  feedBatchRecordsMax,
  relayHeartbeatMs,
  relayServerMsMin,
  relaySilenceMsMax,
  relaySizeMsMax,
  watchListMax,
} from "../../limits.ts";
import { failRelay, RelayFault, type RelayError } from "../../relay/destination.ts";
import type { Filter } from "../../relay/plan.ts";
import type { FeedSource } from "../../relay/source.ts";
import type { RelayedLedger } from "../../wire/relays.ts";
import { serverSize } from "../project/server-source.ts";
import type { ProvenTree } from "./proven-tree.ts";

/** What a relay is to have of the feed. */
type Reach = { readonly filter: Filter; readonly disclosing: Disclosing };

/** A relay's list as a watch takes it; undefined for all, and for what the relay has to choose from all by itself. */
const listed = (list: readonly string[] | undefined): readonly string[] | undefined =>
  list === undefined || list.length > watchListMax ? undefined : list;

const spaceNumbers = { user: Space.SPACE_USER, system: Space.SPACE_SYSTEM } as const;

/** A tombstone has the kind that it ends in a watch, and its own in a relay's filter. */
const kindsOf = ({ kinds }: Filter): Pick<WatchRequest, "kinds"> | Pick<WatchRequest, "allKinds"> => {
  const named = listed(kinds);
  return named === undefined || named.includes("tombstone") ? { allKinds: true } : { kinds: [...named] };
};

/**
 * The least that a watch can be asked for to have what a filter lets through. Tenants that are erased have nothing left
 * to watch. @returns undefined if nothing can come.
 */
export const watchOf = (filter: Filter, erased: ReadonlySet<string>): Partial<WatchRequest> | undefined => {
  const { tenants, spaces } = filter;
  const named = listed(tenants)?.filter((tenant) => !erased.has(tenant));
  const isWatched = (space: "user" | "system"): boolean =>
    (spaces?.includes(space) ?? true) &&
    (space === "user" ? named?.length !== 0 : (tenants?.includes(systemTenant) ?? true));
  const watched = (["user", "system"] as const).filter(isWatched);
  if (watched.length === 0) return undefined;
  return {
    tenants: watched.includes("user") ? [...(named ?? [allMark])] : [],
    spaces: watched.map((space) => spaceNumbers[space]),
    ...kindsOf(filter),
  };
};

const refusedCodes: ReadonlySet<string> = new Set([
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "NOT_FOUND",
  "UNIMPLEMENTED",
]);

/** The server ended a stream that it had begun: its restart, the token's end, a change of the grant, a silence. */
const breakCodes: ReadonlySet<string> = new Set(["UNAVAILABLE", "UNAUTHENTICATED", "CANCELLED"]);

const relayErrorOf = (cause: unknown): RelayError => {
  if (cause instanceof RelayFault) return cause.error;
  if (cause instanceof ProofError)
    return { kind: "refused", rule: `the server's feed does not verify: ${cause.message}` };
  if (!(cause instanceof SigilError)) throw cause;
  const rule = `the server: ${cause.codeName}: ${cause.message}`;
  return { kind: refusedCodes.has(cause.codeName) ? "refused" : "retryable", rule };
};

/** A tenant that the watch names, and that was erased. */
const erasedIn = (cause: unknown): string | undefined =>
  cause instanceof SigilError && cause.reason === "ERASED" ? cause.facts["tenant"] : undefined;

const itemOf = (event: Exclude<VerifiedEvent, { readonly kind: "checkpoint" }>): FeedItem => {
  const { position } = event;
  const leaf = parseHash(event.leaf);
  if (event.kind === "erased") return { position, leaf, record: undefined };
  const { envelope, version, disclosures } = event;
  const { body } = parseRecordStatement(decodeEnvelope(envelope).statement);
  const hash = parseHash(event.record.hash);
  const opened = disclosures === undefined ? {} : { disclosures };
  return { position, leaf, record: { position, version, envelope, hash, body, ...opened } };
};

/** Of at least one event. @param checkpoint the newest by its end, which everything in it was proved against. */
const batchOf = (events: readonly VerifiedEvent[], checkpoint: string): FeedBatch => ({
  items: events.flatMap((event) => (event.kind === "checkpoint" ? [] : [itemOf(event)])),
  next: events.at(-1)?.nextPosition ?? 0n,
  checkpoint,
});

const bytesOf = (event: VerifiedEvent): number =>
  event.kind === "record" ? event.envelope.length + rawBytesOf(event.disclosures) : 0;

/**
 * Events in batches, of whatever has come by the time that the last batch was taken. Reading goes on meanwhile, up to
 * one batch ahead. @param stop ends the reading. @throws what `events` throws, after what came before.
 */
export async function* inBatches(
  events: AsyncIterable<VerifiedEvent>,
  stop: AbortController,
): AsyncGenerator<readonly VerifiedEvent[], void, undefined> {
  let [held, bytes]: [VerifiedEvent[], number] = [[], 0];
  let isOver = false;
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const read = async (): Promise<void> => {
    for await (const event of events) {
      held.push(event);
      bytes += bytesOf(event);
      wake();
      while (!stop.signal.aborted && (held.length >= feedBatchRecordsMax || bytes >= feedBatchBytesMax))
        await changed.promise;
    }
  };
  const reading = read().finally(() => {
    isOver = true;
    wake();
  });
  // Thrown below, after what came before.
  reading.catch(() => {});
  try {
    for (;;) {
      if (held.length > 0) {
        const taken = held;
        [held, bytes] = [[], 0];
        wake();
        yield taken;
      } else if (isOver) {
        return await reading;
      } else await changed.promise;
    }
  } finally {
    stop.abort();
    wake();
    await reading.catch(() => {});
  }
}

export class ServerLedger implements RelayedLedger, Disposable {
  readonly #origin: string;
  readonly #connection: SigilConnection;
  readonly #genesis: Hash;
  #size: bigint;
  /** The newest tree that a watch verified: a ledger with another past is refused. */
  readonly #proven: ProvenTree;
  #isPastRefused = false;
  readonly #polling: NodeJS.Timeout;

  private constructor(
    connection: SigilConnection,
    genesis: Hash,
    proven: ProvenTree,
    { origin, size }: { readonly origin: string; readonly size: bigint },
  ) {
    [this.#connection, this.#genesis, this.#proven] = [connection, genesis, proven];
    [this.#origin, this.#size] = [origin, size];
    this.#polling = setInterval(() => void this.#poll(), relaySizeMsMax).unref();
  }

  /**
   * Closes the connection when it is disposed of. @throws SigilError; ProofError unless the server's genesis record has
   * that hash.
   */
  static async open(connection: SigilConnection, genesis: Hash, proven: ProvenTree): Promise<ServerLedger> {
    const { origin } = await walkKeys(connection, genesis);
    const size = await serverSize(connection);
    return new ServerLedger(connection, genesis, proven, { origin, size });
  }

  size(): bigint {
    return this.#size;
  }

  /** With disclosures the server refuses a caller that may not see inputs, which the relay then says, and waits. */
  feedOf(filter: Filter, disclosing: Disclosing): FeedSource {
    return {
      origin: this.#origin,
      size: () => this.#size,
      from: (position, { signal }) => this.#read({ filter, disclosing }, position, signal),
      hasLeaf: (position, leaf, { signal }) => this.#hasLeaf(position, leaf, signal),
      acceptPast: () => this.#acceptPast(),
      positionOf: (hash, { signal }) => this.#positionOf(hash, signal),
    };
  }

  /** A watch that names an erased tenant is refused, at the latest where its second message would come. */
  async isErased(tenant: string, { kinds }: Filter): Promise<boolean> {
    const request = watchOf({ tenants: [tenant], kinds, spaces: ["user"] }, new Set());
    let heard = 0;
    try {
      for await (const _ of this.#connection.canon.watch({ ...request, heartbeatSeconds: 1 })) {
        heard += 1;
        if (heard === 2) break;
      }
      return false;
    } catch (cause) {
      if (erasedIn(cause) === tenant) return true;
      throw new RelayFault(relayErrorOf(cause), { cause });
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#polling);
    this.#connection.close();
  }

  async #poll(): Promise<void> {
    try {
      this.#grow(await serverSize(this.#connection));
    } catch {
      // The relays say so where they read.
    }
  }

  #grow(size: bigint): void {
    if (size > this.#size) this.#size = size;
  }

  async #hasLeaf(position: bigint, leaf: string, signal: AbortSignal): Promise<boolean> {
    try {
      // The proof first, so that the keys read afterwards cover its checkpoint.
      const proof = await this.#connection.audit.getInclusionProof({ position }, { signal });
      const walk = await walkKeys(this.#connection, this.#genesis, { signal });
      await walk.verifyCheckpoint(proof.checkpoint);
      return await walk.verifyLeaf({ position, leaf: fromHex(leaf), ...proof }).then(
        () => true,
        (error: unknown) => {
          if (error instanceof ProofError) return false;
          throw error;
        },
      );
    } catch (cause) {
      throw new RelayFault(relayErrorOf(cause), { cause });
    }
  }

  /** Links are not signed, so this is not verified. */
  async #positionOf(hash: Hash, signal: AbortSignal): Promise<bigint | undefined> {
    try {
      return (await this.#connection.audit.getInclusionProof({ hash }, { signal })).ledgerPosition;
    } catch (cause) {
      const isGone =
        cause instanceof SigilError && (cause.codeName === "NOT_FOUND" || cause.reason === "ERASED");
      if (isGone) return undefined;
      throw new RelayFault(relayErrorOf(cause), { cause });
    }
  }

  async *#read(reach: Reach, from: bigint, signal: AbortSignal): AsyncGenerator<FeedBatch, void, undefined> {
    const erased = new Set<string>();
    let next = from;
    while (!signal.aborted) {
      let hasBegun = false;
      try {
        for await (const batch of this.#watch(reach, erased, next, signal)) {
          hasBegun = true;
          ({ next } = batch);
          yield batch;
        }
      } catch (cause) {
        if (signal.aborted) return;
        const tenant = erasedIn(cause);
        const isNew = tenant !== undefined && !erased.has(tenant);
        if (isNew) erased.add(tenant);
        else if (!hasBegun || !(cause instanceof SigilError) || !breakCodes.has(cause.codeName))
          await this.#fail(cause, next);
      }
      await pause(relayServerMsMin, undefined, { signal }).catch(() => {});
    }
  }

  /** What was not refused stays known, whatever is published again. */
  async #acceptPast(): Promise<void> {
    if (!this.#isPastRefused) return;
    await this.#proven.forget();
    this.#isPastRefused = false;
  }

  /** @throws RelayFault always. */
  async #fail(cause: unknown, next: bigint): Promise<never> {
    const isAhead = cause instanceof SigilError && cause.codeName === "OUT_OF_RANGE";
    this.#isPastRefused ||= isAhead || cause instanceof ForkError;
    if (!isAhead) throw new RelayFault(relayErrorOf(cause), { cause });
    // An older copy of the ledger was restored there. Whether the relay goes on is up to its operator, who resets it.
    this.#size = await serverSize(this.#connection);
    const proven = this.#proven.current?.size ?? 0n;
    const known =
      proven > next ? `the server has proved ${proven} records` : `the relay is at position ${next}`;
    const rule = `${known}, and the server's ledger has ${this.#size} records: it is another one, or an older copy; reset the relay to publish it as a new generation`;
    return failRelay({ kind: "refused", rule }, { cause });
  }

  async *#watch(
    { filter, disclosing }: Reach,
    erased: ReadonlySet<string>,
    from: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<FeedBatch, void, undefined> {
    const request =
      watchOf(filter, erased) ??
      failRelay({
        kind: "refused",
        rule: "every tenant of this relay is erased: nothing is left to publish",
      });
    const left = new AbortController();
    const asked = { ...request, disclosures: disclosing === "included" };
    const events = this.#events(asked, from, AbortSignal.any([signal, left.signal]));
    let checkpoint: string | undefined;
    for await (const batch of inBatches(events, left)) {
      checkpoint = batch.findLast((event) => event.kind === "checkpoint")?.checkpoint ?? checkpoint;
      assert(checkpoint !== undefined, "a verified watch begins with a checkpoint");
      yield batchOf(batch, checkpoint);
    }
  }

  /** Verified events of one stream. The time that the caller takes for one is not silence. */
  async *#events(
    request: Partial<WatchRequest>,
    fromPosition: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<VerifiedEvent, void, undefined> {
    const silent = new AbortController();
    const silence = (): NodeJS.Timeout => setTimeout(() => silent.abort(), relaySilenceMsMax);
    let timer = silence();
    try {
      const asked = { ...request, fromPosition, heartbeatSeconds: relayHeartbeatMs / 1000 };
      const known = this.#proven.current;
      const events = watchVerified(this.#connection, asked, {
        genesis: this.#genesis,
        ...(known === undefined ? {} : { known }),
        signal: AbortSignal.any([signal, silent.signal]),
      });
      for await (const event of events) {
        clearTimeout(timer);
        await this.#take(event);
        yield event;
        timer = silence();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** A tree is kept before what it covers is handed on. */
  async #take(event: VerifiedEvent): Promise<void> {
    this.#grow(event.nextPosition);
    if (event.kind !== "checkpoint") return;
    const { checkpoint, tree } = event;
    this.#grow(tree.size);
    await this.#proven.grow({ checkpoint, ...tree });
  }
}
