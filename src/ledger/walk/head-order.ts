/**
 * Merge join of the id index and the version index: both are ordered by tenant, space and id, so one pass finds the ids
 * whose newest versions differ. Holds one entry of each.
 */
import { compareBytes, concatBytes, equalBytes, readU64be, utf8Decode } from "@sigil/core/bytes";
import { versionsReadMax } from "../../limits.ts";
import type { Store, StoreEntry } from "../../storage/store.ts";
import { formatHead } from "../layout/indexes.ts";
import { familyRange, prefixRange } from "../layout/keyspace.ts";

/** Suffix after the id: a NUL and the version in eight bytes. */
const versionBytes = 9;
const headLetter = Uint8Array.of("i".charCodeAt(0));
const versionLetter = Uint8Array.of("v".charCodeAt(0));

/** The id index key for a version index key; undefined if malformed. */
const headKeyOf = (key: Uint8Array): Uint8Array | undefined => {
  const end = key.length - versionBytes;
  if (end < 1 || key[end] !== 0) return undefined;
  const name = key.subarray(1, end);
  // Tenant, space and id hold no NUL.
  return name.filter((byte) => byte === 0).length === 2 ? concatBytes(headLetter, name) : undefined;
};

/** Tenant, space and id, joined as in a replay. */
export const nameOfHead = (key: Uint8Array): string => utf8Decode(key.subarray(1));

/** Version index entries of the id of `headKey`, newest first, up to a limit. */
export const newestVersions = (store: Store, headKey: Uint8Array): AsyncIterable<StoreEntry> => {
  const history = concatBytes(versionLetter, headKey.subarray(1), Uint8Array.of(0));
  return store.range({ ...prefixRange(history), reverse: true, limit: versionsReadMax });
};

/** The id index entries that the version index implies. */
async function* headsByVersions(store: Store): AsyncGenerator<StoreEntry> {
  let newest: StoreEntry | undefined;
  for await (const [key, value] of store.range(familyRange("v"))) {
    const headKey = headKeyOf(key);
    if (headKey === undefined || value.length < 8) continue;
    if (newest !== undefined && !equalBytes(newest[0], headKey)) yield newest;
    newest = [headKey, formatHead({ position: readU64be(value), version: readU64be(key, key.length - 8) })];
  }
  if (newest !== undefined) yield newest;
}

const next = async (entries: AsyncIterator<StoreEntry>): Promise<StoreEntry | undefined> => {
  const { done, value } = await entries.next();
  return done === true ? undefined : value;
};

const order = (a: StoreEntry | undefined, b: StoreEntry | undefined): number => {
  if (a === undefined) return 1;
  return b === undefined ? -1 : compareBytes(a[0], b[0]);
};

/** Id index keys that one side lacks or on which they differ. */
export async function* differingHeads(store: Store): AsyncGenerator<Uint8Array> {
  const wanted = headsByVersions(store)[Symbol.asyncIterator]();
  const stored = store.range(familyRange("i"))[Symbol.asyncIterator]();
  try {
    let [want, have] = [await next(wanted), await next(stored)];
    while (want !== undefined || have !== undefined) {
      const comes = order(want, have);
      if (comes === 0) {
        const isSame = want !== undefined && have !== undefined && equalBytes(want[1], have[1]);
        if (!isSame && have !== undefined) yield have[0];
        [want, have] = [await next(wanted), await next(stored)];
      } else if (comes < 0) {
        if (want !== undefined) yield want[0];
        want = await next(wanted);
      } else {
        if (have !== undefined) yield have[0];
        have = await next(stored);
      }
    }
  } finally {
    await wanted.return?.(undefined);
    await stored.return?.();
  }
}
