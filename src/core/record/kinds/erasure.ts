/**
 * Payloads of `erasure`, by which a quorum orders that a tenant's records become unreadable, and of `erased`, in which
 * the deployment says that it was done and to which records. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { anyTextField, exactMap, hashField, refuseField, uint64Field } from "../fields.ts";
import { publicTenant, systemTenant, tenantFault } from "../names.ts";

export interface ErasurePayload {
  readonly tenant: string;
  /** For whoever meets the erased records later. */
  readonly reason: string;
}

export interface ErasedPayload {
  readonly tenant: string;
  /** Hash of the record that ordered it. */
  readonly order: Hash;
  /** How many records were the tenant's. */
  readonly records: bigint;
  /** Over their positions, so that no other record passes for an erased one. Source: docs/spec/ledger.md §7. */
  readonly positions: Hash;
}

/** What keeps a tenant from being erased, or null. */
export const erasureFault = (tenant: string): string | null => {
  if (tenant === systemTenant) return "must not be system: nothing would verify without its records";
  if (tenant === publicTenant) return "must not be public: it is whoever calls without credentials";
  return tenantFault(tenant);
};

const path = "payload";

const tenantField = (map: CborMap): string => {
  const tenant = anyTextField(map, path, "tenant");
  const fault = erasureFault(tenant);
  return fault === null ? tenant : refuseField(path, "tenant", fault);
};

/** @throws malformedRecord naming the field. */
export const parseErasure = (payload: CborValue): ErasurePayload => {
  const map = exactMap(payload, path, ["tenant", "reason"]);
  return { tenant: tenantField(map), reason: anyTextField(map, path, "reason") };
};

export const formatErasure = ({ tenant, reason }: ErasurePayload): CborMap => ({ tenant, reason });

/** @throws malformedRecord naming the field. */
export const parseErased = (payload: CborValue): ErasedPayload => {
  const map = exactMap(payload, path, ["tenant", "order", "records", "positions"]);
  return {
    tenant: tenantField(map),
    order: hashField(map, path, "order"),
    records: uint64Field(map, path, "records"),
    positions: hashField(map, path, "positions"),
  };
};

export const formatErased = ({ tenant, order, records, positions }: ErasedPayload): CborMap => ({
  tenant,
  order,
  records,
  positions,
});
