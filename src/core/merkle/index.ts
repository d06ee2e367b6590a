/** Exports of the tree, its proofs and signed checkpoints. Pure. */
export {
  type Checkpoint,
  type TrustedLog,
  parseCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from "./checkpoint.ts";
export { cosignerName, signCosignature, verifyCosignature, verifyCosigners } from "./cosignature.ts";
export { signSubtree, subtreeLines } from "./subtree-signature.ts";
export { leafHash } from "./hash.ts";
export { type Note, type NoteSignature, checkKeyName, formatNote, parseNote } from "./note.ts";
export {
  type ProofOutcome,
  type ReadHashes,
  checkConsistency,
  checkInclusion,
  proveConsistency,
  proveAppended,
  proveInclusion,
} from "./proof.ts";
export { type AddCheckpoint, formatAddCheckpoint, parseAddCheckpoint } from "./add-checkpoint.ts";
export {
  type Policy,
  type PolicyLog,
  type PolicyWitness,
  isQuorum,
  missingWitnesses,
  parsePolicy,
  verifyByPolicy,
} from "./policy.ts";
export { type VerifierKey, formatVerifierKey, parseVerifierKey } from "./vkey.ts";
export { type TlogProof, formatTlogProof, parseTlogProof } from "./tlog-proof.ts";
export {
  type TileCoordinate,
  type TileResource,
  foldTile,
  formatEntryBundle,
  formatTile,
  formatTilePath,
  parseEntryBundle,
  parseTile,
  parseTilePath,
  readHashesFromTiles,
  tileOf,
  tileWidth,
} from "./tile.ts";
export {
  type Frontier,
  type NodeCoordinate,
  appendLeaves,
  appendSubtree,
  emptyFrontier,
  foldRight,
  peaksOf,
  restoreFrontier,
  rootOf,
  subtreesOf,
} from "./tree.ts";
