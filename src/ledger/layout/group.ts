/**
 * The entry of one commit's records (a group): its leaf hashes and the checkpoint signed after it, so that the newest
 * entry is enough to start from. At most 1,000 records.
 */
import { cborDecode, cborEncode } from "@sigil/core/cbor";
import { concatBytes, type Hash } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { splitHashes } from "./tree.ts";

export type GroupEntry = {
  readonly firstPosition: bigint;
  readonly leaves: readonly Hash[];
  /** The signed note over the tree after this group. */
  readonly checkpoint: string;
};

export const formatGroup = (entry: GroupEntry): Uint8Array =>
  cborEncode({ checkpoint: entry.checkpoint, leaves: concatBytes(...entry.leaves) });

/** @throws ledgerCorrupt if the bytes are not a group entry. */
export const parseGroup = (firstPosition: bigint, bytes: Uint8Array): GroupEntry => {
  const damaged = (cause?: unknown): never =>
    fail({ kind: "ledgerCorrupt", position: firstPosition, rule: "the group entry is malformed" }, { cause });
  try {
    const value = cborDecode(bytes);
    if (value === null || typeof value !== "object" || value instanceof Uint8Array || Array.isArray(value)) {
      return damaged();
    }
    const { checkpoint, leaves } = value as { checkpoint?: unknown; leaves?: unknown };
    if (typeof checkpoint !== "string" || !(leaves instanceof Uint8Array)) return damaged();
    if (leaves.length === 0 || leaves.length % 32 !== 0) return damaged();
    return { firstPosition, checkpoint, leaves: splitHashes(leaves) };
  } catch (cause) {
    return damaged(cause);
  }
};
