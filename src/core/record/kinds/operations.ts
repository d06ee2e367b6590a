/**
 * Payloads of `key_retirement` and `restoration`: operator actions, recorded for later verification. Pure. Source:
 * docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { exactMap, textField, uint64Field } from "../fields.ts";
import { formatRoleKey, readRoleKey, type RoleKey } from "./governance.ts";

/** A key whose later signatures are invalid; the ledger's order proves which are earlier. */
export type KeyRetirementPayload = RoleKey & {
  /** The first position at which signatures by the key are invalid. */
  readonly from: bigint;
};

/** The ledger was restored from a backup, which lacked everything after its size. */
export interface RestorationPayload {
  /** Number of records in the backup. */
  readonly size: bigint;
  /** The signed checkpoint of that size. */
  readonly checkpoint: string;
  /** The name of the backup. */
  readonly backup: string;
}

const path = "payload";

/** @throws malformedRecord naming the field. */
export const parseKeyRetirement = (payload: CborValue, schemaVersion = 1): KeyRetirementPayload => {
  const { map, ...key } = readRoleKey(payload, "from", schemaVersion);
  return { ...key, from: uint64Field(map, path, "from") };
};

export const formatKeyRetirement = (retirement: KeyRetirementPayload): CborMap => ({
  ...formatRoleKey(retirement),
  from: retirement.from,
});

/** @throws malformedRecord naming the field. */
export const parseRestoration = (payload: CborValue): RestorationPayload => {
  const map = exactMap(payload, path, ["size", "checkpoint", "backup"]);
  return {
    size: uint64Field(map, path, "size"),
    checkpoint: textField(map, path, "checkpoint"),
    backup: textField(map, path, "backup"),
  };
};

export const formatRestoration = (restoration: RestorationPayload): CborMap => ({
  size: restoration.size,
  checkpoint: restoration.checkpoint,
  backup: restoration.backup,
});
