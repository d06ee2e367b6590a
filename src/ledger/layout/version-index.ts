/**
 * Questions about the versions of ids: the newest one that a ledger of some size has, one by its number, all of them in
 * order. Sees a ledger of `size` records, whatever has been appended since, so that a listing over many calls sees one
 * moment. An index is only a hint; whoever uses one reads the record it names and verifies that.
 * Holds at most `versionsReadMax` entries. Source: docs/spec/ledger.md §6.
 */
import { compareBytes, equalBytes } from "@sigil/core/bytes";
import { assert } from "../../errors.ts";
import { versionsReadMax } from "../../limits.ts";
import type { Store } from "../../storage/store.ts";
import { kindTag, parseVersion, type BlindTags, type Head } from "./indexes.ts";
import {
  historyPrefix,
  keyAfter,
  parseVersionKey,
  prefixRange,
  versionKey,
  versionPrefix,
} from "./keyspace.ts";

/** Which ids, seen from where. Positions at or past `size` do not exist for this listing. */
export type VersionListing = {
  readonly tenant: string;
  readonly space: string;
  readonly idPrefix: string;
  /** The id to continue after; it need not exist. */
  readonly after?: string | undefined;
  readonly size: bigint;
  readonly kind?: string | undefined;
  /** Index entries to look at. The id under way when they are used up is finished, so every call gets further. */
  readonly scanMax: number;
};

/** An id the listing came by, with its newest version below the listing's size. */
export type ListedVersion = Head & {
  readonly id: string;
  /** The index already says that it does not match, or that the id had no version yet (then this is its first). */
  readonly skipped: boolean;
  /** Index entries looked at so far. The listing ended with ids left over only if this reached `scanMax`. */
  readonly scanned: number;
};

/** Which versions of one id. Positions at or past `size` do not exist for this walk. */
export type HistoryWalk = {
  readonly tenant: string;
  readonly space: string;
  readonly id: string;
  /** The first version to give, in the order of the walk. */
  readonly fromVersion?: bigint | undefined;
  readonly order: "newestFirst" | "oldestFirst";
  readonly limit: number;
  readonly size: bigint;
};

type Entry = Head & { readonly id: string; readonly kindTag: Uint8Array };

/** Whose ids: tells where in a key the id begins. */
type Place = { readonly tenant: string; readonly space: string };

const readEntries = async function* (
  store: Store,
  { tenant, space }: Place,
  range: { readonly gte: Uint8Array; readonly lt: Uint8Array; readonly reverse?: boolean; limit?: number },
): AsyncIterable<Entry> {
  const idOffset = versionPrefix(tenant, space).length;
  for await (const [key, value] of store.range(range)) {
    yield { ...parseVersionKey(key, idOffset), ...parseVersion(value) };
  }
};

/** The first versions of an id, oldest first; `cut` when they are not all of them. */
type Run = { readonly entries: readonly Entry[]; readonly cut: boolean };

/** One run an id, in id order. What an id has past `versionsReadMax` versions is passed over by a seek. */
const readRuns = async function* (
  store: Store,
  place: Place,
  { gte, lt }: { readonly gte: Uint8Array; readonly lt: Uint8Array },
): AsyncIterable<Run> {
  let next: Uint8Array | undefined = gte;
  while (next !== undefined) {
    const from: Uint8Array = next;
    next = undefined;
    let entries: Entry[] = [];
    for await (const entry of readEntries(store, place, { gte: from, lt })) {
      if (entries[0] !== undefined && entries[0].id !== entry.id) {
        yield { entries, cut: false };
        entries = [];
      }
      entries.push(entry);
      if (entries.length < versionsReadMax) continue;
      next = prefixRange(historyPrefix(place.tenant, place.space, entry.id)).lt;
      break;
    }
    if (entries.length > 0) yield { entries, cut: next !== undefined };
  }
};

type Sought = { readonly entry: Entry | undefined; readonly scanned: number };

/**
 * The newest version of an id that stands below `size`. Versions stand in the order of their numbers, so when the very
 * newest is past `size` the place is found by halving: one entry a step, as many steps as the version number has bits.
 */
const seekBelow = async (store: Store, place: Place, id: string, size: bigint): Promise<Sought> => {
  const history = historyPrefix(place.tenant, place.space, id);
  const newestIn = async (gte: Uint8Array, lt: Uint8Array): Promise<Entry | undefined> => {
    for await (const entry of readEntries(store, place, { gte, lt, reverse: true, limit: 1 })) return entry;
    return undefined;
  };
  const keyOf = (version: bigint): Uint8Array => versionKey(place.tenant, place.space, id, version);
  const newest = await newestIn(history, prefixRange(history).lt);
  let scanned = 1;
  if (newest === undefined || newest.position < size) return { entry: newest, scanned };
  let below: Entry | undefined;
  /** Versions up to `low` need no more looking at, those from `high` on stand past the size. */
  let low = 0n;
  let high = newest.version;
  while (high - low > 1n) {
    const middle = low + (high - low) / 2n;
    // Looks for what is there rather than for `middle` itself: an entry that is missing is for fsck to find.
    const entry = await newestIn(keyOf(low + 1n), keyAfter(keyOf(middle)));
    scanned += 1;
    if (entry !== undefined && entry.position >= size) high = entry.version;
    else {
      below = entry ?? below;
      low = middle;
    }
  }
  return { entry: below, scanned };
};

const headOf = ({ position, version }: Entry): Head => ({ position, version });

/** One item an id, in id order. When `kind` is asked for, the tenant's index key must be loaded. */
export const readVersions = async function* (
  store: Store,
  tags: BlindTags,
  listing: VersionListing,
): AsyncIterable<ListedVersion> {
  const { tenant, space, idPrefix, after, size, kind, scanMax } = listing;
  const wanted = kind === undefined ? undefined : kindTag(tags, tenant, kind);
  const { gte: first, lt } = prefixRange(versionPrefix(tenant, space, idPrefix));
  const next = after === undefined ? first : prefixRange(historyPrefix(tenant, space, after)).lt;
  const gte = compareBytes(next, first) < 0 ? first : next;
  let scanned = 0;
  for await (const { entries, cut } of readRuns(store, listing, { gte, lt })) {
    const oldest = entries[0];
    assert(oldest !== undefined, "an id without a version has no run");
    scanned += entries.length;
    let newest = entries.findLast(({ position }) => position < size);
    if (cut && newest === entries.at(-1)) {
      const sought = await seekBelow(store, listing, oldest.id, size);
      scanned += sought.scanned;
      newest = sought.entry;
    }
    const skipped = newest === undefined || (wanted !== undefined && !equalBytes(newest.kindTag, wanted));
    yield { ...headOf(newest ?? oldest), id: oldest.id, skipped, scanned };
    if (scanned >= scanMax) return;
  }
};

/** Where a version of an id stands. */
export const readVersionAt = async (
  store: Store,
  { tenant, space }: Place,
  id: string,
  version: bigint,
): Promise<bigint | undefined> => {
  const bytes = await store.get(versionKey(tenant, space, id, version));
  return bytes === undefined ? undefined : parseVersion(bytes).position;
};

/** The newest version of an id that stands below `size`. */
export const readVersionBelow = async (
  store: Store,
  place: Place,
  id: string,
  size: bigint,
): Promise<Head | undefined> => {
  const { entry } = await seekBelow(store, place, id, size);
  return entry && headOf(entry);
};

export const readHistory = async function* (store: Store, walk: HistoryWalk): AsyncIterable<Head> {
  const { tenant, space, id, fromVersion, order, limit, size } = walk;
  const newest = await readVersionBelow(store, walk, id, size);
  if (newest === undefined) return;
  const reverse = order === "newestFirst";
  const last =
    reverse && fromVersion !== undefined && fromVersion < newest.version ? fromVersion : newest.version;
  const range = {
    gte: versionKey(tenant, space, id, reverse ? 1n : (fromVersion ?? 1n)),
    lt: keyAfter(versionKey(tenant, space, id, last)),
  };
  for await (const entry of readEntries(store, walk, { ...range, reverse, limit })) yield headOf(entry);
};
