/**
 * Notifies watches of commits. One listener receives every commit and wakes the watches of its tenants; a commit of
 * decisions only wakes none. At most `bellsPerTurn` watches are woken per turn of the event loop, so that many watches
 * of one record do not delay other calls. Caches the newest positions of watched tenants and recently read records, so
 * that a commit costs the same for a hundred watches as for one.
 */
import type { VersionedRecord } from "../domain.ts";
import { bellsPerTurn, newsPositionsMax, newsRecordMs, newsRecordsMax } from "../../limits.ts";
import type { ProjectionLedger } from "../../ledger/feed.ts";
import type { CommittedRecord } from "../../ledger/ledger.ts";

/** An auto-reset event of one waiter: set when there may be news. */
export class Bell {
  #isRung = false;
  #wake: (() => void) | undefined;

  get isRung(): boolean {
    return this.#isRung;
  }

  /** Resets the event, before reading the news. */
  clear(): void {
    this.#isRung = false;
  }

  mark(): void {
    this.#isRung = true;
  }

  ring(): void {
    this.#wake?.();
  }

  /** Resolves when it is rung, after `delayMs`, or on abort. */
  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (this.#isRung || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#wake = wake;
    const timer = setTimeout(wake, delayMs);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
    this.#wake = undefined;
  }
}

/** A record committed while its tenant was watched. */
export type Announced = { readonly position: bigint; readonly kind: string };

/** State of one watched tenant. */
type Channel = {
  readonly bells: Set<Bell>;
  /** All records from this position on are in `recent`. */
  from: bigint;
  recent: Announced[];
};

export class News {
  readonly #channels = new Map<string, Channel>();
  readonly #due = new Set<Bell>();
  readonly #read = new Map<bigint, Promise<VersionedRecord>>();
  #isScheduled = false;
  #seen: bigint;

  constructor(ledger: ProjectionLedger<"size">) {
    this.#seen = ledger.reader.size;
    ledger.feed.subscribe((records) => this.#take(records));
  }

  /** Every record below this position was announced. */
  get seen(): bigint {
    return this.#seen;
  }

  /** @returns the event of one watch, and a function to end it. */
  watch(tenant: string): { readonly bell: Bell; readonly end: () => void } {
    const bell = new Bell();
    let channel = this.#channels.get(tenant);
    if (channel === undefined) {
      channel = { bells: new Set(), from: this.#seen, recent: [] };
      this.#channels.set(tenant, channel);
    }
    const { bells } = channel;
    bells.add(bell);
    return {
      bell,
      end: () => {
        bells.delete(bell);
        this.#due.delete(bell);
        if (bells.size === 0) this.#channels.delete(tenant);
      },
    };
  }

  /** The tenant's records from a position on, without decisions; undefined if that is older than the cache. */
  since(tenant: string, position: bigint): readonly Announced[] | undefined {
    const channel = this.#channels.get(tenant);
    if (channel === undefined || position < channel.from) return undefined;
    return channel.recent.filter((each) => each.position >= position);
  }

  /** Reads a record once for many concurrent readers. */
  share(position: bigint, read: () => Promise<VersionedRecord>): Promise<VersionedRecord> {
    const known = this.#read.get(position);
    if (known !== undefined) return known;
    const reading = read();
    this.#read.set(position, reading);
    const forget = (): void => {
      if (this.#read.get(position) === reading) this.#read.delete(position);
    };
    // Failed reads are retried, and data is cached only briefly.
    reading.then(() => setTimeout(forget, newsRecordMs).unref(), forget);
    for (const oldest of this.#read.keys()) {
      if (this.#read.size <= newsRecordsMax) break;
      this.#read.delete(oldest);
    }
    return reading;
  }

  #take(records: readonly CommittedRecord[]): void {
    for (const { position, body } of records) {
      if (position >= this.#seen) this.#seen = position + 1n;
      const channel = body.kind === "frozen_chain" ? undefined : this.#channels.get(body.tenant);
      if (channel === undefined) continue;
      channel.recent.push({ position, kind: body.kind });
      for (const bell of channel.bells) {
        bell.mark();
        this.#due.add(bell);
      }
      if (channel.recent.length <= newsPositionsMax) continue;
      // Drops half at a time, to amortize the move.
      const gone = channel.recent.splice(0, newsPositionsMax / 2);
      channel.from = (gone.at(-1)?.position ?? channel.from) + 1n;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#due.size === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      let rung = 0;
      for (const bell of this.#due) {
        this.#due.delete(bell);
        bell.ring();
        rung += 1;
        if (rung === bellsPerTurn) break;
      }
      this.#schedule();
    });
  }
}
