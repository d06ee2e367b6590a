/**
 * The contract of every place for private signing keys; test/contract/custody.ts tests each adapter. Keys sign where
 * they are stored and are not visible above this contract.
 */
import type { PublicKey } from "@sigil/core/bytes";
import type { KeyRole } from "@sigil/core/keys";
import type { Signer } from "./sign.ts";

export type SigningCustody = {
  /** The newest key of a role, announced or not. @throws keyUnavailable if there is none. */
  readonly newest: (role: KeyRole) => Signer;
  /** Opens the private key of a public key. @throws keyUnavailable naming the missing key. */
  readonly open: (role: KeyRole, publicKey: PublicKey) => Promise<Signer>;
  /** Creates a key, durable when it resolves. It signs nothing until the ledger announces it. */
  readonly create: (role: KeyRole) => Promise<Signer>;
  /**
   * Destroys private keys that have a successor; ignores those it does not hold. Call only with the ledger's lock held,
   * so that no other process creates keys.
   */
  readonly discard: (ended: readonly PublicKey[]) => Promise<void>;
};

export const signingRoles: readonly KeyRole[] = ["record", "checkpoint"];
