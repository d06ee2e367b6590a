/**
 * What every place for private signing keys does. One suite holds each adapter to it: test/contract/custody.ts. The
 * keys sign where they are; nothing above this contract sees one.
 */
import type { PublicKey } from "@sigil/core/bytes";
import type { KeyRole } from "@sigil/core/keys";
import type { Signer } from "./sign.ts";

export type SigningCustody = {
  /** The newest key of a role, announced or not. @throws keyUnavailable when there is none. */
  readonly newest: (role: KeyRole) => Signer;
  /** The private key of a public one. @throws keyUnavailable naming the key that is missing. */
  readonly open: (role: KeyRole, publicKey: PublicKey) => Promise<Signer>;
  /** A new key, durable when it resolves. It signs nothing until the ledger announces it. */
  readonly create: (role: KeyRole) => Promise<Signer>;
  /**
   * Destroys private keys that sign nothing any more; those that are not held are gone already. For the holder of the
   * ledger's lock alone: nobody else is making a key meanwhile.
   */
  readonly discard: (ended: readonly PublicKey[]) => Promise<void>;
};

export const signingRoles: readonly KeyRole[] = ["record", "checkpoint"];
