/** What goes to the signing thread and what comes back. Buffers are transferred, not copied. */

export const seedBytes = 32;
export const signatureBytes = 64;

export type SigningRequest =
  /** Makes a key known under a number; `seed` is its raw private key. */
  | { readonly kind: "key"; readonly key: number; readonly seed: Uint8Array }
  /** Zeroes a key that signs nothing any more. */
  | { readonly kind: "forget"; readonly key: number }
  /** Messages one after another from the beginning of `bytes`, `lengths` of them. */
  | {
      readonly kind: "sign";
      readonly request: number;
      readonly key: number;
      readonly lengths: Uint32Array;
      readonly bytes: Uint8Array;
    };

export type SigningAnswer =
  | { readonly kind: "ready" }
  /** Signatures in the order of the messages, 64 bytes each. */
  | { readonly kind: "signed"; readonly request: number; readonly signatures: Uint8Array };
