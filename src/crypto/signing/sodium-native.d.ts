/** The used part of sodium-native 5, which has no types of its own. */
declare module "sodium-native" {
  const sodium: {
    readonly crypto_sign_PUBLICKEYBYTES: 32;
    readonly crypto_sign_SECRETKEYBYTES: 64;
    readonly crypto_sign_BYTES: 64;
    /** Memory between guard pages, locked and excluded from core dumps. */
    readonly sodium_malloc: (bytes: number) => Buffer<ArrayBuffer>;
    readonly sodium_memzero: (memory: Uint8Array) => void;
    /** Fills the keys from a seed of 32 bytes. */
    readonly crypto_sign_seed_keypair: (
      publicKey: Uint8Array,
      secretKey: Uint8Array,
      seed: Uint8Array,
    ) => void;
    /** Writes 64 bytes. */
    readonly crypto_sign_detached: (
      signature: Uint8Array,
      message: Uint8Array,
      secretKey: Uint8Array,
    ) => void;
    readonly crypto_sign_verify_detached: (
      signature: Uint8Array,
      message: Uint8Array,
      publicKey: Uint8Array,
    ) => boolean;
  };
  export default sodium;
}
