/**
 * ML-DSA-44 lines on a checkpoint, C2SP tlog-cosignature (type 0x06, message `subtree/v1`), by the log itself under its
 * origin. Pure: signing is an argument. Source: docs/spec/ledger.md §4. A blob is 2,428 bytes after its key id.
 */
import { verifyMldsa44 } from "#crypto";
import { concatBytes, parseMldsa44Signature, readU64be, u64be, utf8Encode } from "../bytes.ts";
import type { Hash, Mldsa44PublicKey, Mldsa44Signature } from "../bytes.ts";
import { fail } from "../errors.ts";
import { mldsa44KeyId, signaturesBy } from "./note.ts";
import type { Note, NoteSignature } from "./note.ts";

/** The tree from its first leaf on. */
export interface SignedHead {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Hash;
  /** Not signed by this algorithm, so there must be none. */
  readonly extensions?: readonly string[];
}

export interface Mldsa44NoteSigner {
  readonly publicKey: Mldsa44PublicKey;
  readonly sign: (message: Uint8Array) => Promise<Mldsa44Signature>;
}

const TIME_BYTES = 8;
const BLOB_BYTES = TIME_BYTES + 2420;
const TIME_SECONDS_MAX = 2n ** 63n - 1n;
const NAME_BYTES_MAX = 255;
const LABEL = "subtree/v1\n\0";

const malformed = (rule: string): never => fail({ kind: "malformedCheckpoint", rule });

/** Its length in one byte, then its UTF-8. */
const shortText = (text: string): Uint8Array => {
  const bytes = utf8Encode(text);
  if (bytes.length > NAME_BYTES_MAX)
    malformed(`an origin under ML-DSA-44 has at most ${NAME_BYTES_MAX} bytes`);
  return concatBytes(Uint8Array.of(bytes.length), bytes);
};

/** The bytes that the log signs. @throws malformedCheckpoint. */
export const subtreeMessage = ({ origin, size, root }: SignedHead, timeSeconds: bigint): Uint8Array => {
  if (timeSeconds > TIME_SECONDS_MAX) malformed("a time under ML-DSA-44 must be below 2^63 seconds");
  const name = shortText(origin);
  return concatBytes(utf8Encode(LABEL), name, u64be(timeSeconds), name, u64be(0n), u64be(size), root);
};

/**
 * @returns the line to add to the note. Its time is 0: it says that this tree is one of the log's, and not that it is
 * the newest. @throws malformedCheckpoint.
 */
export const signSubtree = async (head: SignedHead, signer: Mldsa44NoteSigner): Promise<NoteSignature> => {
  const signature = await signer.sign(subtreeMessage(head, 0n));
  const keyId = mldsa44KeyId(head.origin, signer.publicKey);
  return { name: head.origin, keyId, signature: concatBytes(u64be(0n), signature) };
};

/** The lines that claim to be by the log's ML-DSA-44 key; may be empty. */
export const subtreeLines = (
  note: Note,
  origin: string,
  publicKey: Mldsa44PublicKey,
): readonly NoteSignature[] => signaturesBy(note, origin, mldsa44KeyId(origin, publicKey));

/** Verifies each line that names this key; there may be none. @throws malformedCheckpoint. */
export const verifySubtreeLines = async (
  note: Note,
  head: SignedHead,
  publicKey: Mldsa44PublicKey,
): Promise<void> => {
  for (const { signature: blob } of subtreeLines(note, head.origin, publicKey)) {
    if (head.extensions !== undefined) {
      malformed("a checkpoint with extension lines must have no ML-DSA-44 signature");
    }
    if (blob.length !== BLOB_BYTES) malformed("an ML-DSA-44 signature with its time must be 2,428 bytes");
    const message = subtreeMessage(head, readU64be(blob));
    const signature = parseMldsa44Signature(blob.subarray(TIME_BYTES));
    if (!(await verifyMldsa44(publicKey, message, signature)))
      malformed("the ML-DSA-44 signature must verify");
  }
};
