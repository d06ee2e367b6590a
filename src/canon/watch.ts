/**
 * A watch: records as they are committed, in ledger order, each once. It reads the ledger at its own pace from its own
 * position, so a slow reader holds nothing but its place, and a cut one goes on where it says.
 */
import { fail } from "../record/errors.ts";
import { watchPositionsMax } from "../record/limits.ts";
import type { Caller } from "../identity/caller.ts";
import type { RecordFilter, VersionedRecord, WatchEvent, WatchQuery } from "./domain.ts";
import { matches, scopeOf, versionOf, type ReadingLedger, type Scope } from "./reading.ts";

/** Resolves at the next commit, after so many milliseconds, or at the abort; remembers a commit nobody waited for. */
class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  readonly ring = (): void => {
    this.#rung = true;
    this.#wake?.();
  };

  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
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
    this.#rung = false;
  }
}

export type WatchClock = { readonly nowMs: () => number; readonly monotonicMs: () => number };

/** Records verified side by side while a watch catches up. */
const readAheadMax = 16;

/** The record at a position of the tenant. @throws recordCorrupt. */
const readWatched = async (
  ledger: ReadingLedger,
  { tenant }: Scope,
  position: bigint,
): Promise<VersionedRecord> => {
  const record = await ledger.readAt(position, tenant);
  const { body } = record;
  if (body.tenant !== tenant) {
    const rule = "the record is not the one its index names";
    fail({ kind: "recordCorrupt", position, step: "index", rule });
  }
  return versionOf(ledger, record);
};

/** Positions of the tenant's records from `from` on, but those that the index rules out. */
const positionsFrom = async (
  ledger: ReadingLedger,
  { tenant }: Scope,
  kind: string,
  from: bigint,
): Promise<{ readonly positions: readonly bigint[]; readonly end: bigint }> => {
  const { size } = ledger;
  const walk = { tenant, from, size, ...(kind === "" ? {} : { kind }), limit: watchPositionsMax };
  const positions: bigint[] = [];
  let [found, last] = [0, from];
  for await (const { position, skipped } of ledger.records(walk)) {
    found += 1;
    last = position + 1n;
    if (!skipped) positions.push(position);
  }
  return { positions, end: found < watchPositionsMax && size > last ? size : last };
};

/** The records at these positions that match, in order. */
async function* catchUp(
  ledger: ReadingLedger,
  scope: Scope,
  filter: RecordFilter,
  positions: readonly bigint[],
): AsyncGenerator<VersionedRecord, void, undefined> {
  for (let from = 0; from < positions.length; from += readAheadMax) {
    const group = positions.slice(from, from + readAheadMax);
    const read = await Promise.allSettled(group.map((position) => readWatched(ledger, scope, position)));
    for (const outcome of read) {
      if (outcome.status === "rejected") throw outcome.reason;
      if (matches(filter, outcome.value)) yield outcome.value;
    }
  }
}

/** @throws sizeOutOfRange for a position that is not there yet, recordCorrupt, tenantForbidden. */
export async function* watchRecords(
  ledger: ReadingLedger,
  caller: Caller,
  { filter: asked, from, heartbeatMs }: WatchQuery,
  clock: WatchClock,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent, void, undefined> {
  const scope = scopeOf(caller, asked.space, asked.tenant);
  // The end of a record is news to whoever watches it.
  const filter = { ...asked, includeTombstones: true };
  let next = from ?? ledger.size;
  if (next > ledger.size) fail({ kind: "sizeOutOfRange", size: next, treeSize: ledger.size });
  let beatMs = Number.NEGATIVE_INFINITY;
  const heartbeat = (): WatchEvent => {
    beatMs = clock.monotonicMs();
    return { kind: "heartbeat", checkpoint: ledger.checkpoint.note, timeMs: clock.nowMs(), next };
  };
  const bell = new Bell();
  const unsubscribe = ledger.subscribe(bell.ring);
  try {
    yield heartbeat();
    while (!signal.aborted) {
      const { positions, end } = await positionsFrom(ledger, scope, filter.kind, next);
      for await (const record of catchUp(ledger, scope, filter, positions)) {
        if (signal.aborted) return;
        next = record.record.position + 1n;
        yield { kind: "record", record, next };
      }
      next = end;
      const idleMs = heartbeatMs - (clock.monotonicMs() - beatMs);
      if (idleMs <= 0) yield heartbeat();
      else if (next === ledger.size) await bell.wait(idleMs, signal);
    }
  } finally {
    unsubscribe();
  }
}
