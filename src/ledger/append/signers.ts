/**
 * The signing keys in use: for each role the private key of the ring's newest entry; and the interface to custody,
 * which opens, creates and destroys them.
 */
import { toBase64Url, type PublicKey } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { newestKey, type KeyEntry, type KeyRing, type KeyRole } from "@sigil/core/keys";
import type { Signer } from "../../crypto/signing/sign.ts";

/** The custody operations that a ledger needs. */
export type SigningKeys = {
  /** Opens the private key of a public key. @throws keyUnavailable naming it. */
  readonly open: (role: KeyRole, publicKey: PublicKey) => Promise<Signer>;
  /** Creates a key, durable when it resolves. It signs nothing until the ledger announces it. */
  readonly create: (role: KeyRole) => Promise<Signer>;
  /** Destroys private keys that have a successor. Ignores keys it does not hold. */
  readonly discard: (ended: readonly PublicKey[]) => Promise<void>;
};

export type Signers = Readonly<Record<KeyRole, Signer>>;

const openNewest = async (keys: SigningKeys, ring: KeyRing, role: KeyRole): Promise<Signer> => {
  const newest: KeyEntry =
    newestKey(ring, role) ?? fail({ kind: "keyUnavailable", rule: `the ledger names no ${role} key` });
  const signer = await keys.open(role, newest.publicKey);
  // Guards against a custody that returns another key: its signatures would not verify.
  if (toBase64Url(signer.thumbprint) === toBase64Url(newest.thumbprint)) return signer;
  return fail({ kind: "keyUnavailable", rule: `custody gave another key than the ledger's ${role} key` });
};

/** @throws keyUnavailable if custody does not hold a key that the ledger announced. */
export const openSigners = async (keys: SigningKeys, ring: KeyRing): Promise<Signers> => ({
  record: await openNewest(keys, ring, "record"),
  checkpoint: await openNewest(keys, ring, "checkpoint"),
});

export const endedKeys = (ring: KeyRing): readonly PublicKey[] =>
  ring.entries.filter(({ validTo }) => validTo !== null).map(({ publicKey }) => publicKey);
