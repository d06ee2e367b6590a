/**
 * A tenant's entries in the store other than its sealed records: index entries, whose keys hold its ids in clear, and
 * idempotency entries. They are deleted once the records can no longer be opened.
 */
import { readU64be } from "@sigil/core/bytes";
import { projectionOpsMax } from "../../limits.ts";
import type { KeyRange, Store, StoreOp } from "../../storage/store.ts";
import { storedPositions } from "../decisions/stored-positions.ts";
import { tenantOfEntry } from "../append/idempotency.ts";
import { canonKey, expiryKey, familyRange, prefixRange, tenantPrefix } from "../layout/keyspace.ts";

/** Index families whose keys begin with the tenant. */
const tracedFamilies = ["d", "i", "v", "w"] as const;

/** Key ranges of the traces, for the store to compact. */
export const tracedRanges = (tenant: string): readonly KeyRange[] => [
  ...tracedFamilies.map((family) => prefixRange(tenantPrefix(family, tenant))),
  familyRange("e"),
  familyRange("k"),
];

/** Whether an index still has entries of a tenant. */
export const hasTraces = async (tenant: string, store: Store): Promise<boolean> => {
  for (const family of tracedFamilies) {
    for await (const _ of store.range({ ...prefixRange(tenantPrefix(family, tenant)), limit: 1 }))
      return true;
  }
  return false;
};

async function* positionsIn(store: Store, { gte, lt }: KeyRange): AsyncGenerator<bigint, void, undefined> {
  for await (const [key] of store.range({ gte, lt })) yield readU64be(key, key.length - 8);
}

/** Positions of a tenant's records below `end`, ascending, from the indexes. */
export async function* positionsOf(
  tenant: string,
  end: bigint,
  store: Store,
): AsyncGenerator<bigint, void, undefined> {
  const decisions = storedPositions(tenant, end, store);
  const others = positionsIn(store, { gte: canonKey(tenant, 0n), lt: canonKey(tenant, end) });
  try {
    let [one, two] = [await decisions.next(), await others.next()];
    while (one.done !== true || two.done !== true) {
      const isDecision = two.done === true || (one.done !== true && one.value < two.value);
      if (isDecision && one.done !== true) {
        yield one.value;
        one = await decisions.next();
      } else if (two.done !== true) {
        yield two.value;
        two = await others.next();
      }
    }
  } finally {
    await decisions.return();
    await others.return();
  }
}

/** Deletions in atomic units: an idempotency entry is deleted together with its expiry. */
async function* deletions(tenant: string, store: Store): AsyncGenerator<readonly StoreOp[], void, undefined> {
  for (const family of tracedFamilies) {
    for await (const [key] of store.range(prefixRange(tenantPrefix(family, tenant)))) {
      yield [{ kind: "delete", key }];
    }
  }
  for await (const [key, value] of store.range(familyRange("k"))) {
    const entry = tenantOfEntry(value);
    if (entry?.tenant !== tenant) continue;
    const expiry = expiryKey(entry.expires, key.subarray(1));
    yield [
      { kind: "delete", key },
      { kind: "delete", key: expiry },
    ];
  }
}

/** Deletions of all of a tenant's traces, in batches. */
export async function* tracesOf(tenant: string, store: Store): AsyncGenerator<readonly StoreOp[]> {
  let batch: StoreOp[] = [];
  for await (const ops of deletions(tenant, store)) {
    batch.push(...ops);
    if (batch.length < projectionOpsMax) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
