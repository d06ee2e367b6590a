/**
 * Page tokens: where a listing resumes, pinned to the ledger size it began at and bound by a MAC to the principal, the
 * filters and the order. Readable by anyone, made only by this deployment.
 */
import { timingSafeEqual } from "node:crypto";
import { cborDecode, cborEncode, type CborValue } from "@sigil/core/cbor";
import { concatBytes, fromBase64Url, toBase64Url } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";

/** Where a walk resumes; each walk defines its own parts. */
export type PagePlace = readonly CborValue[];

export type Authenticate = (bytes: Uint8Array) => Promise<Uint8Array>;

const tagBytes = 16;

const tagOf = async (place: Uint8Array, walk: CborValue, authenticate: Authenticate): Promise<Uint8Array> =>
  (await authenticate(cborEncode(["sigil/page/v1", place, walk]))).subarray(0, tagBytes);

/** @param walk everything the token is bound to. */
export const formatPageToken = async (
  place: PagePlace,
  walk: CborValue,
  authenticate: Authenticate,
): Promise<string> => {
  const bytes = cborEncode(place);
  return toBase64Url(concatBytes(await tagOf(bytes, walk, authenticate), bytes));
};

const refuse = (): never =>
  fail({
    kind: "invalidPageToken",
    rule: "must be the next_page_token of a call with the same caller, filters and order",
  });

/** @throws invalidPageToken for anything this deployment did not issue for this very walk. */
export const parsePageToken = async (
  token: string,
  walk: CborValue,
  authenticate: Authenticate,
): Promise<PagePlace> => {
  try {
    const bytes = fromBase64Url(token);
    const place = bytes.subarray(tagBytes);
    // Constant-time, against timing attacks on the tag. Throws if lengths differ, hence the length check before.
    if (!timingSafeEqual(bytes.subarray(0, tagBytes), await tagOf(place, walk, authenticate)))
      return refuse();
    return cborDecode(place) as PagePlace;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "storeFailed") throw error;
    return refuse();
  }
};
