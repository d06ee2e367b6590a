/**
 * Payload of `suspension`: a principal, or a key, that somebody stopped at once; which of them the record's id says.
 * Pure. Source: docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { exactMap, textField } from "../fields.ts";

export interface SuspensionPayload {
  readonly reason: string;
  /** Id of the principal who suspended. */
  readonly by: string;
}

const path = "payload";

/** @throws malformedRecord naming the field. */
export const parseSuspension = (payload: CborValue): SuspensionPayload => {
  const map = exactMap(payload, path, ["reason", "by"]);
  return { reason: textField(map, path, "reason"), by: textField(map, path, "by") };
};

export const formatSuspension = ({ reason, by }: SuspensionPayload): CborMap => ({ reason, by });
