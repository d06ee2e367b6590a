/**
 * Leaf, node and empty-tree hashes of RFC 6962 §2.1 with SHA-256. Pure. Input lengths: 1 + entry for leaves, 65 for
 * nodes. The prefix byte separates the domains, so that a node cannot pass as a leaf.
 */
import { sha256 } from "../hash.ts";
import type { Hash } from "../bytes.ts";

const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;
const HASH_BYTES = 32;

/** @returns H(0x00 ‖ entry). */
export const leafHash = (entry: Uint8Array): Hash => {
  const preimage = new Uint8Array(1 + entry.length);
  preimage[0] = LEAF_PREFIX;
  preimage.set(entry, 1);
  return sha256(preimage);
};

/** @returns H(0x01 ‖ left ‖ right). */
export const nodeHash = (left: Hash, right: Hash): Hash => {
  const preimage = new Uint8Array(1 + 2 * HASH_BYTES);
  preimage[0] = NODE_PREFIX;
  preimage.set(left, 1);
  preimage.set(right, 1 + HASH_BYTES);
  return sha256(preimage);
};

/** @returns H(""), the root of the tree without leaves. */
export const emptyRoot = (): Hash => sha256(new Uint8Array(0));
