/**
 * Lookups of versions: an id's newest version as of some ledger size, a version by number, all versions in order. Reads
 * as of `size`, ignoring later appends, so that a listing over many calls is consistent. An index entry is only a hint;
 * callers read and verify the record it names. Holds at most `versionsReadMax` entries. Source: docs/spec/ledger.md §6.
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

/** Which ids to list. Positions at or past `size` are ignored. */
export type VersionListing = {
  readonly tenant: string;
  readonly space: string;
  readonly idPrefix: string;
  /** The id to continue after; it need not exist. */
  readonly after?: string | undefined;
  readonly size: bigint;
  readonly kind?: string | undefined;
  /**
   * Soft limit on index entries to examine: the id being scanned when it is hit is completed, so each page makes
   * progress.
   */
  readonly scanMax: number;
};

/** An id met by the listing, with its newest version below the listing's size. */
export type ListedVersion = Head & {
  readonly id: string;
  /** True if the index already excludes a match, or the id had no version yet (then this is its first). */
  readonly skipped: boolean;
  /** Index entries examined so far. The listing stopped before the last id only if this reached `scanMax`. */
  readonly scanned: number;
};

/** Which versions of one id to walk. Positions at or past `size` are ignored. */
export type HistoryWalk = {
  readonly tenant: string;
  readonly space: string;
  readonly id: string;
  /** The first version to return, in walk order. */
  readonly fromVersion?: bigint | undefined;
  readonly order: "newestFirst" | "oldestFirst";
  readonly limit: number;
  readonly size: bigint;
};

type Entry = Head & { readonly id: string; readonly kindTag: Uint8Array };

/** The key prefix: determines where in a key the id begins. */
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

/** The first versions of an id, oldest first; `cut` if there are more. */
type Run = { readonly entries: readonly Entry[]; readonly cut: boolean };

/** One run per id, in id order. Versions past `versionsReadMax` are skipped by a seek. */
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
 * The newest version of an id below position `size`. Keys are ordered by version number, so if the newest is past
 * `size`, a binary search finds it: one entry per step, as many steps as the version number has bits.
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
  /** Invariant: versions up to `low` are below `size`, those from `high` on are past it. */
  let low = 0n;
  let high = newest.version;
  while (high - low > 1n) {
    const middle = low + (high - low) / 2n;
    // Seeks an existing entry rather than exactly `middle`, to tolerate a missing entry; fsck reports those.
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

/** One item per id, in id order. If `kind` is given, the tenant's index key must be loaded. */
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

/** The position of a version of an id. */
export const readVersionAt = async (
  store: Store,
  { tenant, space }: Place,
  id: string,
  version: bigint,
): Promise<bigint | undefined> => {
  const bytes = await store.get(versionKey(tenant, space, id, version));
  return bytes === undefined ? undefined : parseVersion(bytes).position;
};

/** The newest version of an id below position `size`. */
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
