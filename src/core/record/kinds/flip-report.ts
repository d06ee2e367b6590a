/**
 * Payload of `flip_report`: which recorded verdicts a proposed model would change. Names decisions by position and hash
 * alone, which stay when a tenant is erased. Written by the server alone. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  exactMap,
  hashField,
  listField,
  oneOfField,
  refuseField,
  textField,
  uint64Field,
  uintField,
} from "../fields.ts";
import { flipDecisionsMax } from "../../limits.ts";
import { frozenVerdicts, type FrozenVerdict } from "./frozen-chain.ts";

export interface Flip {
  /** Of the decision's record, and its hash. */
  readonly position: bigint;
  readonly record: Hash;
  /** The recorded verdict, and that of the proposed model. */
  readonly from: FrozenVerdict;
  readonly to: FrozenVerdict;
}

/** The newest decisions of all tenants under another model. */
export interface Rescoring {
  /** Size of the ledger when they were scored: all of them are below it. */
  readonly size: bigint;
  /** Number of decisions. */
  readonly scored: number;
  /** Records of erased tenants that were skipped. */
  readonly erased: number;
  /** Newest first. */
  readonly flips: readonly Flip[];
}

export interface FlipReportPayload extends Rescoring {
  /** Id of the proposal that it belongs to. */
  readonly proposal: string;
  /** Digest of the proposed payload. */
  readonly model: Hash;
}

const path = "payload";

const readFlip = (item: CborValue, at: string): Flip => {
  const map = exactMap(item, at, ["position", "record", "from", "to"]);
  const from = oneOfField(map, at, "from", frozenVerdicts);
  const to = oneOfField(map, at, "to", frozenVerdicts);
  if (from === to) refuseField(at, "to", "must differ from the recorded verdict");
  return { position: uint64Field(map, at, "position"), record: hashField(map, at, "record"), from, to };
};

/** @throws malformedRecord naming the field. */
export const parseFlipReport = (payload: CborValue): FlipReportPayload => {
  const map = exactMap(payload, path, ["proposal", "model", "size", "scored", "erased", "flips"]);
  const size = uint64Field(map, path, "size");
  const scored = uintField(map, path, "scored", 0, flipDecisionsMax);
  const flips = listField(map, path, "flips", readFlip, scored);
  let below = size;
  for (const [index, { position }] of flips.entries()) {
    if (position >= below) {
      refuseField(`${path}.flips[${index}]`, "position", "must be below the size and the position before");
    }
    below = position;
  }
  return {
    proposal: textField(map, path, "proposal"),
    model: hashField(map, path, "model"),
    size,
    scored,
    erased: uintField(map, path, "erased"),
    flips,
  };
};

export const formatFlipReport = ({ flips, ...report }: FlipReportPayload): CborMap => ({
  ...report,
  flips: flips.map((flip): CborMap => ({ ...flip })),
});
