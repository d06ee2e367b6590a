/** Verifies COSE receipts and tlog-proofs of an entry against what is known in advance. Pure. */
import { coseKeyThumbprint, toBeSigned } from "../cose/cose.ts";
import { parseReceipt, receiptSubject } from "../cose/receipt.ts";
import { equalBytes, type Hash } from "../bytes.ts";
import { fail } from "../errors.ts";
import { verifyCheckpoint, type TrustedLog } from "../merkle/checkpoint.ts";
import { leafHash } from "../merkle/hash.ts";
import { checkInclusion, rootOfPath } from "../merkle/proof.ts";
import { parseTlogProof } from "../merkle/tlog-proof.ts";

/** Where a verified proof says that the entry stands. */
export type Inclusion = { readonly leafIndex: bigint; readonly treeSize: bigint; readonly root: Hash };

/**
 * @param entry SHA-256 of the record's envelope. @param log its checkpoint key of that size; never taken from the
 * receipt. @throws malformedCose, malformedCbor.
 */
export const verifyReceipt = async (bytes: Uint8Array, entry: Hash, log: TrustedLog): Promise<Inclusion> => {
  const refuse = (rule: string): never => fail({ kind: "malformedCose", rule: `receipt: ${rule}` });
  const receipt = parseReceipt(bytes);
  const { treeSize, leafIndex, proof, signature } = receipt;
  if (receipt.origin !== log.origin) refuse("origin must be the one expected");
  if (!equalBytes(receipt.kid, coseKeyThumbprint(log.publicKey))) refuse("must be signed by the log's key");
  if (receipt.subject !== receiptSubject(treeSize)) refuse("the path must be of the tree that was signed");
  const path = rootOfPath({ leafIndex, treeSize, leafHash: leafHash(entry), proof });
  if (path.kind === "refused") return refuse(path.rule);
  const message = toBeSigned(receipt.protectedBytes, path.root);
  if (!(await log.verify(log.publicKey, message, signature))) refuse("the signature must verify");
  return { leafIndex, treeSize, root: path.root };
};

/**
 * @param entry SHA-256 of the record's envelope. @param log its checkpoint key of that size; never taken from the
 * proof. @throws malformedCheckpoint.
 */
export const verifyTlogProof = async (text: string, entry: Hash, log: TrustedLog): Promise<Inclusion> => {
  const { leafIndex, proof, checkpoint } = parseTlogProof(text);
  const { size: treeSize, root } = await verifyCheckpoint(checkpoint, log);
  const outcome = checkInclusion({ leafIndex, treeSize, leafHash: leafHash(entry), root, proof });
  if (outcome.kind === "refused") fail({ kind: "malformedCheckpoint", rule: `tlog-proof: ${outcome.rule}` });
  return { leafIndex, treeSize, root };
};
