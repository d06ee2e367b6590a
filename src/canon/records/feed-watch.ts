/**
 * A watch that reads the feed: several tenants, every one, or decisions. It holds one batch of the feed, which is
 * bounded (`feedBatchBytesMax`), and no queue: while its caller does not read, the feed goes on without it.
 */
import { openRecord, signerOf } from "@sigil/core/verify";
import type { Disclosing, FeedBatch, FeedItem, PublishedRecord } from "@sigil/core/record";
import type { Feed } from "../../ledger/feed.ts";
import { readFeed } from "../../ledger/feed-source.ts";
import { feedBatchRecordsMax } from "../../limits.ts";
import type { VersionedRecord, WatchEvent, WalkContext } from "../domain.ts";
import type { Beats } from "./beats.ts";
import { isTombstone, type ReadingLedger } from "./reading.ts";
import type { Selection } from "./selection.ts";

export type FeedWatchLedger = {
  readonly ledger: ReadingLedger;
  readonly feed: Pick<Feed, "from">;
};

/** What is sent of the ledger. */
export type Watched = { readonly selection: Selection; readonly disclosing: Disclosing };

/** What the ledger has verified, or has just made, with the parts that only its bytes have. @throws recordCorrupt. */
const versionedOf = (
  { position, body, envelope, version, disclosures = {} }: PublishedRecord,
  { ring }: ReadingLedger,
): VersionedRecord => {
  const opened = openRecord(position, envelope);
  return {
    record: { ...opened, body, signedBy: signerOf(opened, ring), disclosures },
    version,
    tombstone: isTombstone({ body }),
  };
};

/** What is read next, or "due" after so many milliseconds or at the abort. */
const readOr = async <Read>(
  reading: Promise<Read>,
  delayMs: number,
  signal: AbortSignal,
): Promise<Read | "due"> => {
  const { promise, resolve } = Promise.withResolvers<"due">();
  const end = (): void => resolve("due");
  const timer = setTimeout(end, Math.max(0, delayMs));
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([reading, promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
};

async function* eventsOf(
  items: readonly FeedItem[],
  { ledger }: FeedWatchLedger,
  selection: Selection,
  beats: Beats,
): AsyncGenerator<WatchEvent, void, undefined> {
  for (const item of items) {
    const { position, leaf } = item;
    // The tenant may have been erased after the batch was read: nobody is sent its records any more.
    const isErased = item.record !== undefined && ledger.isErased(item.record.body.tenant);
    const record = isErased ? undefined : item.record;
    const isWanted =
      record === undefined ? selection.takesErased : await selection.matches(record.body, ledger);
    if (!isWanted) continue;
    const lead = await beats.before(position, position);
    if (lead !== undefined) yield lead;
    const next = position + 1n;
    const proof = await beats.proof(position);
    yield record === undefined
      ? { kind: "erased", position, leaf, next, ...proof }
      : { kind: "record", record: versionedOf(record, ledger), next, ...proof };
  }
}

/** @throws sizeOutOfRange, recordCorrupt, erased when a tenant that it names is. */
export async function* watchFeed(
  source: FeedWatchLedger,
  { selection, disclosing }: Watched,
  from: bigint,
  beats: Beats,
  { signal, room }: WalkContext,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { ledger, feed } = source;
  const { named } = selection;
  const requireKept = (): void => named.forEach((tenant) => ledger.refuseErased(tenant));
  const left = new AbortController();
  const batches = readFeed({ feed, reader: ledger }, from, {
    signal: AbortSignal.any([signal, left.signal]),
    disclosing,
  });
  let next = from;
  /** Where its caller would go on. */
  let told = from;
  let reading: Promise<IteratorResult<FeedBatch, void>> | undefined;
  try {
    requireKept();
    yield await beats.beat(next);
    while (!signal.aborted) {
      // Room for what is read and sent; none is held while there is nothing to read.
      const isBehind = next < ledger.size;
      if (isBehind) await room?.enter();
      else room?.leave();
      reading ??= batches.next();
      const outcome = await readOr(reading, beats.idleMs, signal);
      if (signal.aborted) return;
      requireKept();
      if (outcome === "due") {
        yield await beats.beat(next);
        continue;
      }
      reading = undefined;
      if (outcome.done === true) return;
      if (!isBehind) await room?.enter();
      for await (const event of eventsOf(outcome.value.items, source, selection, beats)) {
        if (signal.aborted) return;
        requireKept();
        told = event.next;
        yield event;
      }
      ({ next } = outcome.value);
      // A caller that catches up learns how far it has come, and others have their turn.
      if (beats.idleMs > 0 && next - told < BigInt(feedBatchRecordsMax)) continue;
      told = next;
      yield await beats.beat(next);
    }
  } finally {
    left.abort();
  }
}
