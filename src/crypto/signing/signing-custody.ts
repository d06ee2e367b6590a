/**
 * The contract of every place for private signing keys; test/contract/custody.ts tests each adapter. Keys sign where
 * they are stored and are not visible above this contract.
 */
import type { Mldsa44PublicKey, PublicKey } from "@sigil/core/bytes";
import type { Ed25519Role } from "@sigil/core/keys";
import type { Mldsa44Signer, Signer } from "./sign.ts";

export type SigningCustody = {
  /** The newest key of a role, announced or not. @throws keyUnavailable if there is none. */
  readonly newest: (role: Ed25519Role) => Signer;
  /** Opens the private key of a public key. @throws keyUnavailable naming the missing key. */
  readonly open: (role: Ed25519Role, publicKey: PublicKey) => Promise<Signer>;
  /** Creates a key, durable when it resolves. It signs nothing until the ledger announces it. */
  readonly create: (role: Ed25519Role) => Promise<Signer>;
  /** The same for keys of role `checkpoint_mldsa44`; undefined if this place takes none. */
  readonly mldsa44?: Mldsa44Custody;
  /**
   * Destroys private keys that have a successor; ignores those it does not hold. Call only with the ledger's lock held,
   * so that no other process creates keys.
   */
  readonly discard: (ended: readonly Uint8Array[]) => Promise<void>;
};

export type Mldsa44Custody = {
  readonly open: (publicKey: Mldsa44PublicKey) => Promise<Mldsa44Signer>;
  readonly create: () => Promise<Mldsa44Signer>;
};

/** Roles that every deployment has a key of. */
export const signingRoles: readonly Ed25519Role[] = ["record", "checkpoint"];
