/** What the signing thread is told about its keys, and what it says. What it signs goes through the ring beside it. */

export const seedBytes = 32;

export type SigningRequest =
  /** Makes a key known under a number; `seed` is its raw private key, transferred. */
  | { readonly kind: "key"; readonly key: number; readonly seed: Uint8Array }
  /** Zeroes a key that signs nothing any more. */
  | { readonly kind: "forget"; readonly key: number };

/** Said once, before the first message is signed. */
export type SigningAnswer = "ready";
