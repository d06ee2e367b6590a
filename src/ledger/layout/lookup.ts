/**
 * Index lookups: newest versions, positions by hash, and a tenant's records other than decisions. An index entry is
 * only a hint; callers read and verify the record it names. Source: docs/spec/ledger.md §6.
 */
import { compareBytes, equalBytes, readU64be, type Hash } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { Store } from "../../storage/store.ts";
import { kindTag, parseHead, type BlindTags, type Head } from "./indexes.ts";
import { canonKey, hashKey, headKey, headPrefix, keyAfter, prefixRange } from "./keyspace.ts";

/** Which records of a tenant to walk (decisions excluded), in ledger order. */
export type RecordWalk = {
  readonly tenant: string;
  /** The first position to examine. */
  readonly from: bigint;
  /** Positions at or past it are ignored. */
  readonly size: bigint;
  readonly kind?: string | undefined;
  /** Maximum index entries to examine. */
  readonly limit: number;
};

/** Start and direction of a scan over ids. */
export type HeadScan = {
  /** Inclusive start in scan order; need not exist. */
  readonly from?: string | undefined;
  /** Descending order. */
  readonly reverse?: boolean | undefined;
};

/** A position examined by the walk; `skipped` if its index entry already excludes a match. */
export type WalkedPosition = { readonly position: bigint; readonly skipped: boolean };

export const readHead = async (
  store: Store,
  tenant: string,
  space: string,
  id: string,
): Promise<Head | undefined> => {
  const bytes = await store.get(headKey(tenant, space, id));
  return bytes === undefined ? undefined : parseHead(bytes);
};

/** Newest versions of the ids with this prefix, in id order; decisions excluded. */
export const readHeads = async function* (
  store: Store,
  tenant: string,
  space: string,
  idPrefix: string,
  { from, reverse = false }: HeadScan = {},
): AsyncIterable<Head> {
  let { gte, lt } = prefixRange(headPrefix(tenant, space, idPrefix));
  if (from !== undefined) {
    const key = headKey(tenant, space, from);
    const end = keyAfter(key);
    if (reverse && compareBytes(end, lt) < 0) lt = end;
    if (!reverse && compareBytes(key, gte) > 0) gte = key;
  }
  for await (const [, value] of store.range({ gte, lt, reverse })) yield parseHead(value);
};

/** Parses a position in an index entry. @throws ledgerCorrupt unless it is eight bytes. */
const parsePosition = (bytes: Uint8Array, index: string): bigint =>
  bytes.length === 8
    ? readU64be(bytes)
    : fail({ kind: "ledgerCorrupt", position: 0n, rule: `an entry of the ${index} index is malformed` });

export const readPositionOfHash = async (store: Store, hash: Hash): Promise<bigint | undefined> => {
  const bytes = await store.get(hashKey(hash));
  return bytes === undefined ? undefined : parsePosition(bytes, "hash");
};

/** If `kind` is given, the tenant's index key must be loaded. */
export const walkRecords = async function* (
  store: Store,
  tags: BlindTags,
  { tenant, from, size, kind, limit }: RecordWalk,
): AsyncIterable<WalkedPosition> {
  const wanted = kind === undefined ? undefined : kindTag(tags, tenant, kind);
  const range = { gte: canonKey(tenant, from), lt: canonKey(tenant, size) };
  for await (const [key, tag] of store.range({ ...range, limit })) {
    const skipped = wanted !== undefined && !equalBytes(tag, wanted);
    yield { position: readU64be(key, key.length - 8), skipped };
  }
};
