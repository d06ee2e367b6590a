/**
 * What a condensed decision consists of, for `condense.ts` and `expand.ts`: its envelope without what every record of
 * the kind has. A canonical value has no tags and no simple values but false, true and null, so the initial bytes of
 * those stand for texts of a fixed table and for a few other things that follow. Pure. Source: docs/spec/ledger.md §6.
 */
import { cborEncode } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";

/** What an envelope follows from besides what is condensed; both are authenticated by the seal. */
export type CondensedPlace = { readonly origin: string; readonly tenant: string };

/** A text that came before in the same value: u8, the how manieth of those that are in no table, from 0. */
export const codeAgain = 0xc0;
/** A text of 36 characters, a UUID in lower case: its 16 bytes. */
export const codeUuid = 0xc1;
/** The tenant, as a text. */
export const codeTenant = 0xc2;
/** SHA-256 of nothing, as a byte string. */
export const codeEmptyDigest = 0xc3;
export const codeFirstText = 0xc4;

/** By code, from 0xc4 to 0xf3. Never changed: records that were sealed with it are read for ever. */
export const condensedTexts: readonly string[] = [
  "id ts kind frozen_chain prev links space user tenant payload schema_version label target model",
  "principal reason review low high request verdict features threshold caller_seq duration_us",
  "contributions loa input action caller session subject metadata request_id traceparent",
  "action_risk target_sensitivity level rate entropy trust_model/active SCORE_BELOW_THRESHOLD",
  "SCORE_AT_OR_ABOVE_THRESHOLD salt value operator allow deny",
].flatMap((line) => line.split(" "));

export const textItems: readonly Uint8Array[] = condensedTexts.map((text) => cborEncode(text));

export const emptyDigest = cborEncode(sha256(new Uint8Array(0)));

export const uuidCharacters = 36;
export const uuidBytes = 16;
export const kidBytes = 32;
export const signatureBytes = 64;
/** Texts that may be named again: those of a decision are fewer. */
export const againMax = 16;
export const isHyphenAt = (index: number): boolean =>
  index === 8 || index === 13 || index === 18 || index === 23;

/** A map of nine and its first key. */
export const bodyBegins = Uint8Array.of(0xa9, 0x62, 0x69, 0x64);

/** Whether the bytes at `at` are these. */
export const isAt = (bytes: Uint8Array, at: number, wanted: Uint8Array): boolean => {
  if (at + wanted.length > bytes.length) return false;
  for (let index = 0; index < wanted.length; index += 1)
    if (bytes[at + index] !== wanted[index]) return false;
  return true;
};

/** Bytes of an item's head; 0 for a head that a canonical value does not have. */
export const headBytes = (initial: number): number => {
  const information = initial & 0x1f;
  return information < 24 ? 1 : information < 28 ? 1 + (1 << (information - 24)) : 0;
};

/** The argument of a head of one to five bytes; −1 if it is longer or cut short. */
export const argumentAt = (bytes: Uint8Array, at: number, head: number): number => {
  if (head > 5 || at + head > bytes.length) return -1;
  let argument = head === 1 ? (bytes[at] as number) & 0x1f : 0;
  for (let index = 1; index < head; index += 1) argument = argument * 0x100 + (bytes[at + index] as number);
  return argument;
};
