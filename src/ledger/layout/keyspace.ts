/**
 * Keys of the ordered store. Pure. The first byte names the family; positions are eight bytes, big-endian, so that byte
 * order is ledger order.
 *
 *   r position           sealed envelope                       b first position     group: leaves, checkpoint
 *   t level index        tile (level 0) or tile root (above)   i tenant space id    newest version of an id
 *   h hash               position of a record                  d tenant part …      index of decisions
 *   k blind key          idempotency entry                     e expiry blind key   when that entry may go
 *   s tenant version     seals made with a data key            w tenant position    kind of a record, no decision's
 *   v tenant space id version   a version of an id, no decision's
 *   x                    a rebuild of the indexes is under way
 *   y tenant             a tenant is being erased
 *   n position           entry of an erased record
 */
import {
  concatBytes,
  readU64be,
  u64be,
  utf8Decode,
  utf8Encode,
  writeU64be,
  type Hash,
} from "@sigil/core/bytes";
import { assert, fail } from "../../errors.ts";

/** In byte order. */
export const families = ["b", "d", "e", "h", "i", "k", "m", "n", "r", "s", "t", "v", "w", "x", "y"] as const;
export type Family = (typeof families)[number];

const family = (name: Family): Uint8Array => Uint8Array.of(name.charCodeAt(0));
/** Separator: tenants, spaces and ids hold no NUL. */
const zero = "\0";

/** Prefix of one tenant's keys in a family whose keys begin with the tenant. */
export const tenantPrefix = (name: "d" | "i" | "s" | "v" | "w", tenant: string): Uint8Array =>
  utf8Encode(`${name}${tenant}${zero}`);

const positioned = (name: Family, position: bigint): Uint8Array => {
  const key = new Uint8Array(9);
  key[0] = name.charCodeAt(0);
  writeU64be(key, 1, position);
  return key;
};

export const recordKey = (position: bigint): Uint8Array => positioned("r", position);
/** Of an erased record, whose entry no longer follows from its envelope. */
export const erasedEntryKey = (position: bigint): Uint8Array => positioned("n", position);
export const groupKey = (firstPosition: bigint): Uint8Array => positioned("b", firstPosition);

/** Parses the position of a `recordKey`, `erasedEntryKey` or `groupKey`. @throws ledgerCorrupt if the key is none. */
export const positionOf = (key: Uint8Array): bigint => {
  if (key.length !== 9)
    fail({ kind: "ledgerCorrupt", position: 0n, rule: "a key of the store is malformed" });
  return new DataView(key.buffer, key.byteOffset).getBigUint64(1);
};

export const tileKey = (tileLevel: number, index: bigint): Uint8Array => {
  const key = new Uint8Array(10);
  key[0] = 0x74;
  key[1] = tileLevel;
  writeU64be(key, 2, index);
  return key;
};

export const headPrefix = (tenant: string, space: string, idPrefix = ""): Uint8Array =>
  utf8Encode(`i${tenant}${zero}${space}${zero}${idPrefix}`);
export const headKey = (tenant: string, space: string, id: string): Uint8Array =>
  headPrefix(tenant, space, id);

/** Prefix of the versions of all ids with this prefix. */
export const versionPrefix = (tenant: string, space: string, idPrefix = ""): Uint8Array =>
  utf8Encode(`v${tenant}${zero}${space}${zero}${idPrefix}`);
/** Prefix of the versions of exactly this id. */
export const historyPrefix = (tenant: string, space: string, id: string): Uint8Array =>
  versionPrefix(tenant, space, `${id}${zero}`);
export const versionKey = (tenant: string, space: string, id: string, version: bigint): Uint8Array =>
  concatBytes(historyPrefix(tenant, space, id), u64be(version));

/**
 * Parses a `versionKey`. @throws ledgerCorrupt if it is none.
 * @param idOffset offset of the id: the length of `versionPrefix(tenant, space)`.
 */
export const parseVersionKey = (
  key: Uint8Array,
  idOffset: number,
): { readonly id: string; readonly version: bigint } => {
  const idEnd = key.length - 9;
  const id = key.subarray(idOffset, Math.max(idOffset, idEnd));
  if (id.length === 0 || key[idEnd] !== 0 || id.some((byte) => byte > 0x7f)) {
    return fail({ kind: "ledgerCorrupt", position: 0n, rule: "a key of the version index is malformed" });
  }
  return { id: utf8Decode(id), version: readU64be(key, idEnd + 1) };
};

export const canonKey = (tenant: string, position: bigint): Uint8Array =>
  concatBytes(tenantPrefix("w", tenant), u64be(position));

export const hashKey = (hash: Hash): Uint8Array => {
  const key = new Uint8Array(1 + hash.length);
  key[0] = 0x68;
  key.set(hash, 1);
  return key;
};

/** Parts of a tenant's decision index: the newest decisions, the rows of all others, and their postings by level. */
export const decisionParts = { tail: 0, rows: 1, postings: 2 } as const;

export const decisionPartPrefix = (tenant: string, part: number): Uint8Array =>
  concatBytes(tenantPrefix("d", tenant), Uint8Array.of(part));
/** @param number ordinal of a tail value's first decision, or number of a rows value or segment. */
const decisionPartKey = (tenant: string, part: number, number: number): Uint8Array =>
  concatBytes(decisionPartPrefix(tenant, part), u64be(BigInt(number)));
export const decisionTailKey = (tenant: string, firstOrdinal: number): Uint8Array =>
  decisionPartKey(tenant, decisionParts.tail, firstOrdinal);
export const decisionRowsKey = (tenant: string, number: number): Uint8Array =>
  decisionPartKey(tenant, decisionParts.rows, number);
/** Key of a segment's fence; its postings are under this key followed by their number. */
export const segmentKey = (tenant: string, level: number, number: number): Uint8Array =>
  decisionPartKey(tenant, decisionParts.postings + level, number);
export const postingsKey = (tenant: string, level: number, number: number, chunk: number): Uint8Array => {
  const key = segmentKey(tenant, level, number);
  const full = new Uint8Array(key.length + 4);
  full.set(key);
  new DataView(full.buffer).setUint32(key.length, chunk);
  return full;
};

/** Parses a key of the decision index. @throws ledgerCorrupt if it is none. */
export const parseDecisionKey = (
  key: Uint8Array,
): {
  readonly tenant: string;
  readonly part: number;
  readonly number: number;
  readonly chunk: number | null;
} => {
  const end = key.indexOf(0);
  const rest = key.length - end - 2;
  if (end < 1 || (rest !== 8 && rest !== 12)) {
    return fail({ kind: "ledgerCorrupt", position: 0n, rule: "a key of the decision index is malformed" });
  }
  const view = new DataView(key.buffer, key.byteOffset + end + 2);
  return {
    tenant: utf8Decode(key.subarray(1, end)),
    part: key[end + 1] ?? 0,
    number: Number(view.getBigUint64(0)),
    chunk: rest === 12 ? view.getUint32(8) : null,
  };
};

export const idempotencyKey = (blind: Uint8Array): Uint8Array => concatBytes(family("k"), blind);
export const expiryKey = (expiresMs: number, blind: Uint8Array): Uint8Array =>
  concatBytes(family("e"), u64be(BigInt(expiresMs)), blind);

export const sealCountKey = (tenant: string, version: number): Uint8Array =>
  concatBytes(tenantPrefix("s", tenant), u64be(BigInt(version)));

/** Key of the summary: authenticated totals of indexes and counts, updated by every commit. */
export const summaryKey = family("m");
/** Key of a tenant's tally: its number of records and a digest of them. */
export const tallyKey = (tenant: string): Uint8Array => utf8Encode(`m${tenant}`);

/** Marker present from the first to the last batch of a rebuild: the indexes are incomplete. */
export const rebuildingKey = family("x");

/** Marker present while an erased tenant still has entries in the store. */
export const erasingKey = (tenant: string): Uint8Array => utf8Encode(`y${tenant}`);

/** Range of every key of a family. */
export const familyRange = (name: Family): { readonly gte: Uint8Array; readonly lt: Uint8Array } => ({
  gte: family(name),
  lt: Uint8Array.of(name.charCodeAt(0) + 1),
});

/** The smallest key greater than `key`: as an exclusive upper bound it includes `key`. */
export const keyAfter = (key: Uint8Array): Uint8Array => concatBytes(key, Uint8Array.of(0));

/** Range of every key that begins with `prefix`. */
export const prefixRange = (prefix: Uint8Array): { readonly gte: Uint8Array; readonly lt: Uint8Array } => {
  const end = Uint8Array.from(prefix);
  let last = end.length - 1;
  while (last >= 0 && end[last] === 0xff) last -= 1;
  assert(last >= 0, "a prefix of 0xff alone has no end");
  end[last] = (end[last] ?? 0) + 1;
  return { gte: prefix, lt: end.subarray(0, last + 1) };
};
