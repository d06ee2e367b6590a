/**
 * How often each version of a tenant's data key has sealed, and from which position: `s` entries, written in the batch
 * of the seals they count. They outlive the keys, so that a lost or destroyed version is never created again. Source:
 * docs/spec/ledger.md §6.
 */
import { concatBytes, readU64be, u64be, utf8Decode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { Store, StoreEntry, StoreOp } from "../../storage/store.ts";
import { familyRange, keyAfter, prefixRange, sealCountKey, tenantPrefix } from "../layout/keyspace.ts";

export type SealCount = {
  readonly tenant: string;
  /** Counts from 1. */
  readonly version: number;
  readonly seals: number;
  /** The first position it sealed or may seal; undefined for keys older than this field. */
  readonly first: bigint | undefined;
};

export const sealCountOp = ({ tenant, version, seals, first }: SealCount): StoreOp => ({
  kind: "put",
  key: sealCountKey(tenant, version),
  value: first === undefined ? u64be(BigInt(seals)) : concatBytes(u64be(BigInt(seals)), u64be(first)),
});

const damaged = (): never =>
  fail({ kind: "ledgerCorrupt", position: 0n, rule: "a count of seals is malformed" });

/** @throws ledgerCorrupt. */
const parseSealCount = ([key, value]: StoreEntry): SealCount => {
  const end = key.length - 9;
  if (end < 2 || key[end] !== 0 || (value.length !== 8 && value.length !== 16)) return damaged();
  return {
    tenant: utf8Decode(key.subarray(1, end)),
    version: Number(readU64be(key, end + 1)),
    seals: Number(readU64be(value)),
    first: value.length === 16 ? readU64be(value, 8) : undefined,
  };
};

export const readCount = async (
  store: Store,
  tenant: string,
  version: number,
): Promise<SealCount | undefined> => {
  const key = sealCountKey(tenant, version);
  const value = await store.get(key);
  return value === undefined ? undefined : parseSealCount([key, value]);
};

/** The count of a tenant's highest version. */
export const newestCount = async (store: Store, tenant: string): Promise<SealCount | undefined> => {
  const range = prefixRange(tenantPrefix("s", tenant));
  for await (const entry of store.range({ ...range, reverse: true, limit: 1 })) return parseSealCount(entry);
  return undefined;
};

/** Where a listing resumes: after this key. */
export type CountPlace = { readonly tenant: string; readonly version: number };

/** Ordered by tenant and version. */
export const listCounts = async function* (
  store: Store,
  tenant: string | undefined,
  after: CountPlace | undefined,
): AsyncGenerator<SealCount, void, undefined> {
  const { gte, lt } = tenant === undefined ? familyRange("s") : prefixRange(tenantPrefix("s", tenant));
  const from = after === undefined ? gte : keyAfter(sealCountKey(after.tenant, after.version));
  for await (const entry of store.range({ gte: from, lt })) yield parseSealCount(entry);
};
