/**
 * Questions the store's indexes answer: newest versions, positions by hash, and the walk over a tenant's decisions.
 * An index is only a hint; whoever uses one reads the record it names and verifies that. Source: docs/spec/ledger.md §6.
 */
import { readU64be, type Hash } from "../record/bytes.ts";
import { fail } from "../record/errors.ts";
import type { Store } from "../storage/store.ts";
import { parseHead, shortlist, type BlindTags, type DecisionFilter, type Head } from "./indexes.ts";
import { decisionKey, decisionPrefix, hashKey, headKey, headPrefix, prefixRange } from "./keyspace.ts";

/** Which decisions, seen from where. Positions at or past `size` do not exist for this walk. */
export type DecisionWalk = {
  readonly tenant: string;
  readonly filter: DecisionFilter;
  readonly order: "newestFirst" | "oldestFirst";
  readonly size: bigint;
  /** The first position to look at, in the order of the walk. */
  readonly start?: bigint;
  /** Index entries to look at, at most. */
  readonly scanMax: number;
};

/** A position the walk came by; `skipped` when its index entry already says that it does not match. */
export type WalkedDecision = { readonly position: bigint; readonly skipped: boolean };

export const readHead = async (
  store: Store,
  tenant: string,
  space: string,
  id: string,
): Promise<Head | undefined> => {
  const bytes = await store.get(headKey(tenant, space, id));
  return bytes === undefined ? undefined : parseHead(bytes);
};

/** Newest versions of the ids that begin so, in id order. */
export const readHeads = async function* (
  store: Store,
  tenant: string,
  space: string,
  idPrefix: string,
): AsyncIterable<Head> {
  for await (const [, value] of store.range(prefixRange(headPrefix(tenant, space, idPrefix)))) {
    yield parseHead(value);
  }
};

/** The position in a hash's index entry. @throws ledgerCorrupt when it is not eight bytes. */
const parsePosition = (bytes: Uint8Array): bigint =>
  bytes.length === 8
    ? readU64be(bytes)
    : fail({ kind: "ledgerCorrupt", position: 0n, rule: "an entry of the hash index is malformed" });

export const readPositionOfHash = async (store: Store, hash: Hash): Promise<bigint | undefined> => {
  const bytes = await store.get(hashKey(hash));
  return bytes === undefined ? undefined : parsePosition(bytes);
};

/** The tenant's index key must be loaded. */
export const walkDecisions = async function* (
  store: Store,
  tags: BlindTags,
  walk: DecisionWalk,
): AsyncIterable<WalkedDecision> {
  const { tenant, size, start } = walk;
  const matches = shortlist(tags, tenant, walk.filter);
  const reverse = walk.order === "newestFirst";
  const last = start === undefined || start >= size ? size : start + 1n;
  const range = reverse
    ? { gte: decisionPrefix(tenant), lt: decisionKey(tenant, last) }
    : { gte: decisionKey(tenant, start ?? 0n), lt: decisionKey(tenant, size) };
  for await (const [key, entry] of store.range({ ...range, reverse, limit: walk.scanMax })) {
    yield { position: readU64be(key, key.length - 8), skipped: !matches(entry) };
  }
};
