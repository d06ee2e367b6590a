/**
 * The signing keys in use: for each role the private key of the ring's newest entry; and the interface to custody,
 * which opens, creates and destroys them.
 */
import { equalBytes } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { newestKey, type Ed25519Role, type KeyEntry, type KeyRing, type KeyRole } from "@sigil/core/keys";
import type { Mldsa44Signer, RoleSigner, Signer } from "../../crypto/signing/sign.ts";
import type { Mldsa44Custody, SigningCustody } from "../../crypto/signing/signing-custody.ts";

/** The custody operations that a ledger needs. */
export type SigningKeys = Omit<SigningCustody, "newest">;

export type Signers = {
  readonly record: Signer;
  readonly checkpoint: Signer;
  /** Undefined unless the deployment signs checkpoints by ML-DSA-44 as well. */
  readonly checkpoint_mldsa44?: Mldsa44Signer | undefined;
};

/** Guards against a custody that returns another key: its signatures would not verify. */
const requireSame = <Opened extends Signer | Mldsa44Signer>(
  { role, publicKey }: Pick<KeyEntry, "role" | "publicKey">,
  signer: Opened,
): Opened =>
  equalBytes(signer.publicKey, publicKey)
    ? signer
    : fail({ kind: "keyUnavailable", rule: `custody gave another key than the ledger's ${role} key` });

const openNewest = async (keys: SigningKeys, ring: KeyRing, role: Ed25519Role): Promise<Signer> => {
  const newest =
    newestKey(ring, role) ?? fail({ kind: "keyUnavailable", rule: `the ledger names no ${role} key` });
  return requireSame(newest, await keys.open(role, newest.publicKey));
};

const mldsa44Of = ({ mldsa44 }: SigningKeys): Mldsa44Custody =>
  mldsa44 ?? fail({ kind: "keyUnavailable", rule: "ML-DSA-44 keys cannot be where the signing keys are" });

/** @returns undefined until the first was announced. */
const openMldsa44 = async (keys: SigningKeys, ring: KeyRing): Promise<Mldsa44Signer | undefined> => {
  const newest = newestKey(ring, "checkpoint_mldsa44");
  return newest && requireSame(newest, await mldsa44Of(keys).open(newest.publicKey));
};

/**
 * @param mldsa44 whether the deployment signs checkpoints by ML-DSA-44 as well.
 * @throws keyUnavailable if custody does not hold a key that the ledger announced.
 */
export const openSigners = async (keys: SigningKeys, ring: KeyRing, mldsa44: boolean): Promise<Signers> => ({
  record: await openNewest(keys, ring, "record"),
  checkpoint: await openNewest(keys, ring, "checkpoint"),
  ...(mldsa44 ? { checkpoint_mldsa44: await openMldsa44(keys, ring) } : {}),
});

/** @throws keyUnavailable if custody takes no keys of the role. */
export const createKey = async (keys: SigningKeys, role: KeyRole): Promise<RoleSigner> =>
  role === "checkpoint_mldsa44"
    ? { role, signer: await mldsa44Of(keys).create() }
    : { role, signer: await keys.create(role) };

export const endedKeys = (ring: KeyRing): readonly Uint8Array[] =>
  ring.entries.filter(({ validTo }) => validTo !== null).map(({ publicKey }) => publicKey);
