/**
 * Payload of `suspension`: a principal or key suspended with immediate effect; the record's id says which. Pure.
 * Source: docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { exactMap, textField } from "../fields.ts";

export interface SuspensionPayload {
  readonly reason: string;
  /** Id of the suspending principal. */
  readonly by: string;
}

const path = "payload";

/** @throws malformedRecord naming the field. */
export const parseSuspension = (payload: CborValue): SuspensionPayload => {
  const map = exactMap(payload, path, ["reason", "by"]);
  return { reason: textField(map, path, "reason"), by: textField(map, path, "by") };
};

export const formatSuspension = ({ reason, by }: SuspensionPayload): CborMap => ({ reason, by });
