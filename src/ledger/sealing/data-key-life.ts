/**
 * Tenants' data keys while the ledger serves: listing and rotation. The newest version seals and older ones only open,
 * whatever fails and whenever the process dies.
 */
import { fail } from "../../errors.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { listCounts, sealCountOp, type CountPlace, type SealCount } from "./seal-counts.ts";
import type { DataKeys, Sealer } from "./sealer.ts";

export type DataKeyState = "sealing" | "opening" | "destroyed";

export type LivingDataKey = SealCount & { readonly state: DataKeyState };

/** Which keys to list: of one tenant or of all, after a place, up to a limit. */
export type DataKeyListing = {
  readonly tenant?: string | undefined;
  readonly after?: CountPlace | undefined;
  readonly limit: number;
};

const stateOf = ({ tenant, version }: SealCount, keys: DataKeys): DataKeyState => {
  const newest = keys.newest(tenant);
  if (newest === 0) return "destroyed";
  return version === newest ? "sealing" : "opening";
};

/** Ordered by tenant and version. */
export const listDataKeys = async (
  { tenant, after, limit }: DataKeyListing,
  { keys, store }: { readonly keys: DataKeys; readonly store: Store },
): Promise<readonly LivingDataKey[]> => {
  const listed: LivingDataKey[] = [];
  for await (const count of listCounts(store, tenant, after)) {
    if (listed.length === limit) break;
    listed.push({ ...count, state: stateOf(count, keys) });
  }
  return listed;
};

/**
 * Call in an exclusive turn. @param expected the current version, if the caller knows it. @param size the next
 * position.
 * @throws notFound for a tenant that has sealed nothing, keyReplaced, keyUnavailable, storeFailed.
 */
export const rotateDataKey = async (
  tenant: string,
  expected: number | undefined,
  {
    keys,
    sealer,
    commit,
    size,
  }: {
    readonly keys: DataKeys;
    readonly sealer: Sealer;
    readonly commit: (ops: readonly StoreOp[]) => Promise<void>;
    readonly size: bigint;
  },
): Promise<LivingDataKey> => {
  if (keys.newest(tenant) === 0) fail({ kind: "notFound", what: "data key of tenant", id: tenant });
  await sealer.ready(tenant);
  const newest = keys.newest(tenant);
  if (expected !== undefined && expected !== newest) {
    fail({ kind: "keyReplaced", role: "data", current: `version ${newest}` });
  }
  const count = await sealer.rotate(tenant, size);
  // Persisted immediately: if the new key file is lost, the previous version must not seal again.
  await commit([sealCountOp(count)]);
  return { ...count, state: "sealing" };
};
