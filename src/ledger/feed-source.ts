/**
 * The feed as readers beyond the caches take it: every position of the ledger, with its leaf and a checkpoint that
 * covers it, so that whoever reads from 0 rebuilds the tree. A relay in this server reads this; outside it reads
 * CanonService.Watch, which is made of it. Bounds are those of `feed.ts`.
 */
import { leafOf } from "@sigil/core/verify";
import type { FeedBatch, FeedItem } from "@sigil/core/record";
import { assert } from "../errors.ts";
import type { Feed, FeedCall, ReadBatch } from "./feed.ts";
import type { LedgerReader } from "./read/reading.ts";

export type FeedLedger = {
  readonly feed: Pick<Feed, "from">;
  readonly reader: Pick<LedgerReader, "tree">;
};

const itemsOf = async (
  { records, erased }: ReadBatch,
  { leaves }: LedgerReader["tree"],
): Promise<readonly FeedItem[]> => {
  const items: FeedItem[] = records.map((record) => ({
    position: record.position,
    leaf: leafOf(record.envelope),
    record,
  }));
  if (erased.length === 0) return items;
  const left = await leaves(erased);
  erased.forEach((position, index) => {
    const leaf = left[index];
    assert(leaf !== undefined, "a leaf for each erased position");
    items.push({ position, leaf, record: undefined });
  });
  return items.sort((one, other) => (one.position < other.position ? -1 : 1));
};

/**
 * @throws sizeOutOfRange for a position that is not there yet; recordCorrupt, ledgerCorrupt, storeFailed, notServing.
 */
export async function* readFeed(
  { feed, reader }: FeedLedger,
  from: bigint,
  call: FeedCall,
): AsyncGenerator<FeedBatch, void, undefined> {
  for await (const batch of feed.from(from, call)) {
    const { tree } = reader;
    yield { items: await itemsOf(batch, tree), next: batch.next, checkpoint: tree.checkpoint };
  }
}
