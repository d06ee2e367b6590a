/** Exports of the key ring, key records and signature verification. Pure. */
export {
  applyKeyRecord,
  isKeyRecord,
  keyRetirementId,
  nextSigningKeyId,
  ringOfGenesis,
} from "./key-records.ts";
export {
  type Ed25519Role,
  type KeyEntry,
  type KeyRing,
  type KeyRole,
  type KeyState,
  type RoleKey,
  checkpointPosition,
  checkpointSigner,
  emptyRing,
  findSigner,
  keyState,
  newestKey,
  officeHolder,
  retireKey,
} from "./ring.ts";
export { type Verify, checkPublicKey, verifyForeign, verifyOwn, verifyOwnOnce } from "./verify.ts";
