/** Sealing outside of a commit. */
import { randomBytes } from "../../src/crypto/random.ts";
import { sealNonceBytes } from "../../src/crypto/seal.ts";
import type { Sealer } from "../../src/ledger/sealing/sealer.ts";

/** One value as a commit of it alone seals it, counted. */
export const sealOne = async (
  sealer: Sealer,
  envelope: Uint8Array,
  position: bigint,
  tenant: string,
): Promise<Uint8Array> => {
  await sealer.ready(tenant, 1);
  const seals = sealer.stage(() => randomBytes(sealNonceBytes));
  const sealed = seals.seal({ envelope }, position, tenant);
  sealer.take(seals.counts());
  return sealed;
};
