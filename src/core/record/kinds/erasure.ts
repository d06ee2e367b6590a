/**
 * Payloads of `erasure`, a quorum's order to make a tenant's records unreadable, and of `erased`, the deployment's
 * report that it was carried out and on which records. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { anyTextField, exactMap, hashField, refuseField, uint64Field } from "../fields.ts";
import { publicTenant, systemTenant, tenantFault } from "../names.ts";

export interface ErasurePayload {
  readonly tenant: string;
  /** For later readers of the erased records. */
  readonly reason: string;
}

export interface ErasedPayload {
  readonly tenant: string;
  /** Hash of the record that ordered it. */
  readonly order: Hash;
  /** Number of the tenant's records. */
  readonly records: bigint;
  /** Digest of their positions, so that no other record can pass as erased. Source: docs/spec/ledger.md §7. */
  readonly positions: Hash;
}

/** Why a tenant cannot be erased, or null. */
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
