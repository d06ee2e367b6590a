/**
 * Payload of `caller_head`: how many decisions a caller has in a tenant at the record's place in the ledger. Written by
 * the server alone. Pure. Source: docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { exactMap, textField, uintField } from "../fields.ts";

export interface CallerHeadPayload {
  /** Id of the principal who called. */
  readonly caller: string;
  /** The number of its newest decision; 0 if there is none. */
  readonly seq: number;
}

const path = "payload";

/** @throws malformedRecord naming the field. */
export const parseCallerHead = (payload: CborValue): CallerHeadPayload => {
  const map = exactMap(payload, path, ["caller", "seq"]);
  return { caller: textField(map, path, "caller"), seq: uintField(map, path, "seq") };
};

export const formatCallerHead = ({ caller, seq }: CallerHeadPayload): CborMap => ({ caller, seq });
