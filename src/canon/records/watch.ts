/**
 * A watch: records as they are committed, in ledger order, each once. It reads the ledger at its own pace from its own
 * position, so a slow reader holds nothing but its place, and a cut one goes on where it says.
 */
import { fail } from "../../errors.ts";
import { watchPositionsMax } from "../../limits.ts";
import type { Caller, Room } from "../../identity/caller.ts";
import { ReadAhead } from "../../ledger/read/read-ahead.ts";
import type { RecordFilter, VersionedRecord, WatchEvent, WatchQuery, WalkContext } from "../domain.ts";
import type { News } from "./news.ts";
import { matches, scopeOf, versionOf, type ReadingLedger, type Scope } from "./reading.ts";

export type WatchClock = { readonly nowMs: () => number; readonly monotonicMs: () => number };

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

type Positions = {
  readonly positions: readonly bigint[];
  /** Where the next look begins, and whether everything before it was looked at. */
  readonly end: bigint;
  readonly isAll: boolean;
};

/** Positions of the tenant's records from `from` on, but those that can be ruled out. @throws erased. */
const positionsFrom = async (
  ledger: ReadingLedger,
  news: News,
  { tenant }: Scope,
  kind: string,
  from: bigint,
): Promise<Positions> => {
  ledger.refuseErased(tenant);
  const { seen } = news;
  const recent = news.since(tenant, from);
  if (recent !== undefined) {
    const wanted = recent.filter((each) => kind === "" || each.kind === kind || each.kind === "tombstone");
    return { positions: wanted.map(({ position }) => position), end: seen > from ? seen : from, isAll: true };
  }
  const { size } = ledger;
  const walk = { tenant, from, size, ...(kind === "" ? {} : { kind }), limit: watchPositionsMax };
  const positions: bigint[] = [];
  let [found, last] = [0, from];
  for await (const { position, skipped } of ledger.records(walk)) {
    found += 1;
    last = position + 1n;
    if (!skipped) positions.push(position);
  }
  const isAll = found < watchPositionsMax;
  return { positions, end: isAll && size > last ? size : last, isAll };
};

/** The records at these positions that match, in order. */
async function* catchUp(
  ledger: ReadingLedger,
  news: News,
  scope: Scope,
  filter: RecordFilter,
  positions: readonly bigint[],
  room: Room | undefined,
): AsyncGenerator<VersionedRecord, void, undefined> {
  const readAhead = new ReadAhead();
  let from = 0;
  while (from < positions.length) {
    await room?.enter();
    const group = positions.slice(from, from + readAhead.next());
    from += group.length;
    const read = await Promise.allSettled(
      group.map((position) => news.share(position, () => readWatched(ledger, scope, position))),
    );
    for (const outcome of read) {
      if (outcome.status === "rejected") throw outcome.reason;
      if (matches(filter, outcome.value)) yield outcome.value;
    }
    readAhead.took(
      read.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.record.envelope] : [])),
    );
  }
  room?.leave();
}

/** @throws sizeOutOfRange for a position that is not there yet, recordCorrupt, tenantForbidden. */
export async function* watchRecords(
  ledger: ReadingLedger,
  caller: Caller,
  { filter: asked, from, heartbeatMs }: WatchQuery,
  { clock, news }: { readonly clock: WatchClock; readonly news: News },
  { signal, room }: WalkContext,
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
  const { bell, end: endWatch } = news.watch(scope.tenant);
  try {
    yield heartbeat();
    while (!signal.aborted) {
      bell.clear();
      const { positions, end, isAll } = await positionsFrom(ledger, news, scope, filter.kind, next);
      for await (const record of catchUp(ledger, news, scope, filter, positions, room)) {
        if (signal.aborted) return;
        next = record.record.position + 1n;
        yield { kind: "record", record, next };
      }
      next = end;
      const idleMs = heartbeatMs - (clock.monotonicMs() - beatMs);
      if (idleMs <= 0) yield heartbeat();
      else if (isAll) await bell.wait(idleMs, signal);
      // Nobody rang: up to what was told of, nothing was the tenant's.
      if (isAll && !bell.isRung && news.seen > next) next = news.seen;
    }
  } finally {
    endWatch();
  }
}
