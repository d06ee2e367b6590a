/** Messages to and from the signing thread about keys. Payloads to sign go through the shared ring. */

export const seedBytes = 32;

export type SigningRequest =
  /** Registers a key under a number; `seed` is its raw private key, transferred. */
  | { readonly kind: "key"; readonly key: number; readonly seed: Uint8Array }
  /** Zeroes a key that is no longer used. */
  | { readonly kind: "forget"; readonly key: number };

/** Sent once, before the first message is signed. */
export type SigningAnswer = "ready";
