/**
 * cbor2 set to the profile of docs/spec/record.md §1: its deterministic mode (CDE), narrowed. Not its dCBOR mode, which
 * turns floats beyond 2^53 into integers and normalises text.
 */
import type { DecodeOptions, EncodeOptions } from "cbor2";

export const deterministicEncode: EncodeOptions = {
  cde: true,
  simplifyNegativeZero: true,
  rejectUndefined: true,
  rejectCustomSimples: true,
  rejectDuplicateKeys: true,
};

export const deterministicDecode: DecodeOptions = {
  cde: true,
  preferMap: true,
  rejectDuplicateKeys: true,
  rejectLargeNegatives: true,
  rejectLongFloats: true,
  rejectNegativeZero: true,
  rejectLongLoundNaN: true,
  rejectSimple: true,
  rejectUndefined: true,
};
