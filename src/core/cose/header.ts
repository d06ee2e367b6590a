/** What COSE_Sign1 messages of ours share: labels, and the reading of header maps. Pure. Source: RFC 9052, 9597. */
import type { HeaderMap, HeaderValue } from "../cbor/cbor.ts";
import { Fault } from "../errors.ts";

export const headerAlg = 1;
export const headerContentType = 3;
export const headerKid = 4;
export const headerClaims = 15;
export const claimIssuer = 1;
export const claimSubject = 2;
export const algEdDsa = -8;

export const tagSign1 = 18;

/** A map of exactly so many entries; null for anything else. */
export const asHeaderMap = (value: HeaderValue | undefined, entries: number): HeaderMap | null =>
  value instanceof Map && value.size === entries ? (value as HeaderMap) : null;

/**
 * Decodes what stands inside of a byte string. An offset in there is meaningless for the whole, so CBOR errors are
 * refused as the whole's. @param what it is, for a person.
 */
export const decodeNested = <T>(
  what: string,
  decode: () => T,
  refuse: (rule: string, cause: Fault) => never,
): T => {
  try {
    return decode();
  } catch (cause) {
    if (!(cause instanceof Fault) || cause.error.kind !== "malformedCbor") throw cause;
    return refuse(`${what} at offset ${cause.error.offset}: ${cause.error.rule}`, cause);
  }
};
