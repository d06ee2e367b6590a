/**
 * Committed records by position. Two ways to get them: listeners are called synchronously with every commit, before its
 * callers are answered (caches, counters); `from` is an async iterable that begins at any position and is resumable
 * (relays, followers). It reads from the store up to the present and then from the tail: what was committed last,
 * shared by all readers and bounded in bytes. Nothing is queued for a reader, so a slow one holds its position alone,
 * and finds in the store what the tail let go of. A crash loses nothing here: a reader resumes at the position it had
 * got to.
 */
import { fail, SigilFault, type SigilError } from "../errors.ts";
import { feedBatchBytesMax, feedBatchRecordsMax, feedTailBytesMax } from "../limits.ts";
import { rawBytesOf, type Disclosing } from "@sigil/core/record";
import type { CommitListener, FeedRecord } from "./append/options.ts";
import { orderIn } from "./layout/erasure.ts";
import { isDecision } from "./layout/indexes.ts";
import type { LedgerReader } from "./read/reading.ts";

export type ReadBatch = {
  /** In ledger order. Records of erased tenants are left out, so there may be none. */
  readonly records: readonly FeedRecord[];
  /** Positions of those that were left out, ascending. */
  readonly erased: readonly bigint[];
  /** The position to resume at. */
  readonly next: bigint;
};

/** A reader; `wake` is set while it waits for a commit. */
type Waiting = { wake: (() => void) | undefined };

export type FeedSource = {
  readonly reader: Pick<LedgerReader, "versionBelow"> & {
    readonly readAt: (position: bigint) => Promise<Omit<FeedRecord, "version">>;
  };
  /** Records below were there before anybody could listen. */
  readonly size: bigint;
  /** Told what a listener threw. */
  readonly onFault: (cause: unknown) => void;
};

/** How a reader takes the feed. */
export type FeedCall = {
  readonly signal: AbortSignal;
  /**
   * `included` for a reader who may see inputs. It reads every record from the store: the tail, which all readers
   * share, never holds what was disclosed.
   */
  readonly disclosing?: Disclosing;
};

/** What a projection of the ledger is made from: it reads what there is, and hears of every change. */
export type ProjectionLedger<Reads extends keyof LedgerReader> = {
  readonly reader: Pick<LedgerReader, Reads>;
  readonly feed: Pick<Feed, "subscribe">;
};

/** Whether a batch takes no more; one record always fits. */
const isFull = (records: number, bytes: number): boolean =>
  records >= feedBatchRecordsMax || bytes >= feedBatchBytesMax;

const disclosedOf = (
  { disclosures }: Pick<FeedRecord, "disclosures">,
  disclosing: Disclosing,
): Pick<FeedRecord, "disclosures"> =>
  disclosing === "withheld" || disclosures === undefined || Object.keys(disclosures).length === 0
    ? {}
    : { disclosures };

export class Feed {
  readonly #source: FeedSource;
  readonly #listeners = new Set<CommitListener>();
  readonly #readers = new Set<Waiting>();
  /** The newest records, up to `#size` and without a gap; empty while nobody reads. */
  #tail: FeedRecord[] = [];
  #tailBytes = 0;
  /** Every record below was published, or was there before. */
  #size: bigint;
  #ended: SigilError | undefined;

  constructor(source: FeedSource) {
    this.#source = source;
    this.#size = source.size;
  }

  /** Every record below can be read from here on. */
  get size(): bigint {
    return this.#size;
  }

  /** What readers cost the server: how many there are, and bytes of envelopes that are held for them. */
  get gauge(): { readonly readers: number; readonly tailBytes: number } {
    return { readers: this.#readers.size, tailBytes: this.#tailBytes };
  }

  /**
   * Called with every commit, in order, before its callers are answered. What a listener throws is only reported: the
   * records are on disk whatever becomes of it. @returns the unsubscriber.
   */
  subscribe(listener: CommitListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Every record from a position on, each once and in order, for ever; ends quietly when `signal` aborts. One that
   * waits for a commit waits through a recovery; one that reads from the store meanwhile gets the store's error.
   * @throws sizeOutOfRange for a position that is not there yet; recordCorrupt, ledgerCorrupt, storeFailed; what the
   * feed ended with.
   */
  async *from(
    position: bigint,
    { signal, disclosing = "withheld" }: FeedCall,
  ): AsyncGenerator<ReadBatch, void, undefined> {
    if (position > this.#size) fail({ kind: "sizeOutOfRange", size: position, treeSize: this.#size });
    const reader: Waiting = { wake: undefined };
    // Also for a reader that never asks again: suspended at a `yield`, it does not get to its `finally`.
    const leave = (): void => this.#leave(reader);
    this.#readers.add(reader);
    signal.addEventListener("abort", leave, { once: true });
    try {
      for (let next = position; !signal.aborted;) {
        this.#requireLive();
        if (next === this.#size) {
          await new Promise<void>((wake) => (reader.wake = wake));
          reader.wake = undefined;
          continue;
        }
        const tailed = disclosing === "withheld" ? this.#tailed(next) : undefined;
        const batch = tailed ?? (await this.#read(next, this.#size, disclosing));
        if (signal.aborted) return;
        next = batch.next;
        yield batch;
      }
    } finally {
      signal.removeEventListener("abort", leave);
      leave();
    }
  }

  /** Called by the ledger with what it has committed. @param size of the ledger with these records. */
  publish(records: readonly FeedRecord[], size: bigint): void {
    this.#keep(records, size);
    this.#size = size;
    if (records.length > 0) {
      for (const listener of this.#listeners) {
        try {
          listener(records);
        } catch (cause) {
          this.#source.onFault(cause);
        }
      }
    }
    for (const { wake } of this.#readers) wake?.();
  }

  /**
   * After a recovery: publishes what was never acknowledged and was found kept, as one commit. It is one batch at most.
   */
  async catchUp(size: bigint): Promise<void> {
    const records: FeedRecord[] = [];
    let next = this.#size;
    while (next < size) {
      const batch = await this.#read(next, size, "withheld");
      records.push(...batch.records);
      ({ next } = batch);
    }
    if (next > this.#size) this.publish(records, size);
  }

  /** Nothing more will be committed. The first reason counts. */
  end(error: SigilError): void {
    this.#ended ??= error;
    this.#forgetTail();
    for (const { wake } of this.#readers) wake?.();
  }

  /** Only while somebody reads, and never past an order to erase: no copy of a tenant's records outlives it. */
  #keep(records: readonly FeedRecord[], size: bigint): void {
    const isWhole = BigInt(records.length) === size - this.#size;
    const isKept = this.#readers.size > 0 && isWhole && records.every((record) => !orderIn(record));
    if (!isKept) return this.#forgetTail();
    for (const record of records) this.#tail.push(record);
    this.#tailBytes += records.reduce((sum, { envelope }) => sum + envelope.length, 0);
    if (this.#tailBytes <= feedTailBytesMax) return;
    // Down to half: each commit would move all of them.
    let dropped = 0;
    while (this.#tailBytes > feedTailBytesMax / 2) {
      this.#tailBytes -= this.#tail[dropped]?.envelope.length ?? 0;
      dropped += 1;
    }
    this.#tail.splice(0, dropped);
  }

  #forgetTail(): void {
    this.#tail = [];
    this.#tailBytes = 0;
  }

  /** A batch from the tail; undefined when it no longer reaches so far back. */
  #tailed(first: bigint): ReadBatch | undefined {
    const from = this.#tail.length - Number(this.#size - first);
    if (from < 0) return undefined;
    let [to, bytes] = [from, 0];
    for (; to < this.#tail.length && !isFull(to - from, bytes); to += 1) {
      bytes += this.#tail[to]?.envelope.length ?? 0;
    }
    return { records: this.#tail.slice(from, to), erased: [], next: first + BigInt(to - from) };
  }

  /** A batch from the store, of records below `size`. */
  async #read(first: bigint, size: bigint, disclosing: Disclosing): Promise<ReadBatch> {
    const { reader } = this.#source;
    const records: FeedRecord[] = [];
    const erased: bigint[] = [];
    let [next, bytes] = [first, 0];
    for (; next < size && !isFull(Number(next - first), bytes); next += 1n) {
      try {
        const read = await reader.readAt(next);
        const { position, body, hash, envelope } = read;
        const disclosed = disclosedOf(read, disclosing);
        // Of several versions in one commit each has its own number; a decision has only the one.
        const own = isDecision(body)
          ? undefined
          : await reader.versionBelow(body.tenant, body.space, body.id, position + 1n);
        records.push({ position, hash, body, envelope, version: own?.version ?? 1n, ...disclosed });
        bytes += envelope.length + rawBytesOf(disclosed.disclosures);
      } catch (error) {
        if (error instanceof SigilFault && error.error.kind === "erased") {
          erased.push(next);
          continue;
        }
        // Why the store was closed says more than that a read of it failed.
        this.#requireLive();
        throw error;
      }
    }
    return { records, erased, next };
  }

  #requireLive(): void {
    if (this.#ended !== undefined) fail(this.#ended);
  }

  #leave(reader: Waiting): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#forgetTail();
    reader.wake?.();
  }
}
