/**
 * A watch: records as they are committed, in ledger order, each once. It reads the ledger at its own pace from its own
 * position, so a slow reader holds nothing but its place, and a cut one goes on where it says. Two ways, one stream of
 * events: records of one tenant are found in its index, so that nobody's watch opens the records of others; decisions,
 * which that index does not list, and several tenants are read from the feed, record by record (feed-watch.ts).
 */
import { fail } from "../../errors.ts";
import { watchPositionsMax } from "../../limits.ts";
import type { Caller, Room } from "../../identity/caller.ts";
import { refuseBesideRecords } from "../../identity/feed-reach.ts";
import type { Feed } from "../../ledger/feed.ts";
import { ReadAhead } from "../../ledger/read/read-ahead.ts";
import type { VersionedRecord, WatchEvent, WatchQuery, WalkContext } from "../domain.ts";
import { Beats, type WatchClock } from "./beats.ts";
import { watchFeed, type Watched } from "./feed-watch.ts";
import type { News } from "./news.ts";
import { versionOf, type ReadingLedger } from "./reading.ts";
import { Selection } from "./selection.ts";

/** The record at a position of the tenant. @throws recordCorrupt. */
const readWatched = async (
  ledger: ReadingLedger,
  tenant: string,
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
  tenant: string,
  kinds: readonly string[] | undefined,
  from: bigint,
): Promise<Positions> => {
  ledger.refuseErased(tenant);
  const { seen } = news;
  const recent = news.since(tenant, from);
  if (recent !== undefined) {
    const isWanted = (kind: string): boolean =>
      kinds === undefined || kinds.includes(kind) || kind === "tombstone";
    const wanted = recent.filter(({ kind }) => isWanted(kind));
    return { positions: wanted.map(({ position }) => position), end: seen > from ? seen : from, isAll: true };
  }
  const { size } = ledger;
  // The index rules out by one kind; of several, the opened record decides.
  const kind = kinds?.length === 1 ? kinds[0] : undefined;
  const walk = { tenant, from, size, ...(kind === undefined ? {} : { kind }), limit: watchPositionsMax };
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
  tenant: string,
  selection: Selection,
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
      group.map((position) => news.share(position, () => readWatched(ledger, tenant, position))),
    );
    for (const outcome of read) {
      if (outcome.status === "rejected") throw outcome.reason;
      const { record } = outcome.value;
      if (await selection.matches(record.body, ledger)) yield outcome.value;
    }
    readAhead.took(
      read.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.record.envelope] : [])),
    );
  }
  room?.leave();
}

export type Watching = {
  readonly clock: WatchClock;
  readonly news: News;
  readonly feed: Pick<Feed, "from" | "size">;
};

/** What a watch that did not ask for them is not sent; readings are shared with those that did. */
const withoutDisclosures = ({ record, ...versioned }: VersionedRecord): VersionedRecord => ({
  ...versioned,
  record: { ...record, disclosures: {} },
});

/** A watch of records that the tenant's index lists. */
async function* watchIndexed(
  ledger: ReadingLedger,
  { tenant, selection, disclosing }: Watched & { readonly tenant: string },
  from: bigint,
  { beats, news }: { readonly beats: Beats; readonly news: News },
  { signal, room }: WalkContext,
): AsyncGenerator<WatchEvent, void, undefined> {
  let next = from;
  const { bell, end: endWatch } = news.watch(tenant);
  try {
    yield await beats.beat(next);
    while (!signal.aborted) {
      bell.clear();
      const { positions, end, isAll } = await positionsFrom(
        ledger,
        news,
        tenant,
        selection.indexedKinds,
        next,
      );
      for await (const read of catchUp(ledger, news, tenant, selection, positions, room)) {
        if (signal.aborted) return;
        const record = disclosing === "included" ? read : withoutDisclosures(read);
        const { position } = record.record;
        const lead = await beats.before(position, next);
        if (lead !== undefined) yield lead;
        next = position + 1n;
        yield { kind: "record", record, next, ...(await beats.proof(position)) };
      }
      next = end;
      if (beats.idleMs <= 0) yield await beats.beat(next);
      else if (isAll) await bell.wait(beats.idleMs, signal);
      // Nobody rang: up to what was told of, nothing was the tenant's.
      if (isAll && !bell.isRung && news.seen > next) next = news.seen;
    }
  } finally {
    endWatch();
  }
}

/**
 * @throws sizeOutOfRange for a position or a known size that is not there yet, recordCorrupt, tenantForbidden,
 * feedForbidden, erased.
 */
export async function* watchRecords(
  ledger: ReadingLedger,
  caller: Caller,
  query: WatchQuery,
  { clock, news, feed }: Watching,
  call: WalkContext,
): AsyncGenerator<WatchEvent, void, undefined> {
  const selection = new Selection(caller, query.selection);
  const { disclosing } = query;
  if (disclosing === "included") refuseBesideRecords(caller, "disclosures");
  if (query.proof === "evidence") refuseBesideRecords(caller, "proof");
  const beats = new Beats(ledger, query, clock);
  const tenant = selection.indexed;
  const from = query.from ?? (tenant === undefined ? feed.size : ledger.size);
  if (from > ledger.size) fail({ kind: "sizeOutOfRange", size: from, treeSize: ledger.size });
  yield* tenant === undefined
    ? watchFeed({ ledger, feed }, { selection, disclosing }, from, beats, call)
    : watchIndexed(ledger, { tenant, selection, disclosing }, from, { beats, news }, call);
}
