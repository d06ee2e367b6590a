/**
 * What a tenant leaves in the store beside its sealed records: index entries, whose keys hold its ids in clear, and
 * idempotency entries. All of it can go once the records cannot be opened any more.
 */
import { readU64be } from "@sigil/core/bytes";
import { projectionOpsMax } from "../../limits.ts";
import type { KeyRange, Store, StoreOp } from "../../storage/store.ts";
import { storedPositions } from "../decisions/stored-positions.ts";
import { tenantOfEntry } from "../append/idempotency.ts";
import { canonKey, expiryKey, familyRange, prefixRange, tenantPrefix } from "../layout/keyspace.ts";

/** Families of index entries that begin with a tenant. */
const tracedFamilies = ["d", "i", "v", "w"] as const;

/** Where traces were, for the store to let go of. */
export const tracedRanges = (tenant: string): readonly KeyRange[] => [
  ...tracedFamilies.map((family) => prefixRange(tenantPrefix(family, tenant))),
  familyRange("e"),
  familyRange("k"),
];

/** Whether an index still has something of a tenant. */
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

/** Positions of a tenant's records below `end`, ascending, as the indexes have them. */
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

/** What goes together, one after the other: an idempotency entry and its expiry are never apart. */
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

/** Deletions of everything a tenant has left, in batches. */
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
