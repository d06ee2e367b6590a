/**
 * Witness cosignatures on a checkpoint, C2SP tlog-cosignature, version 1 (Ed25519 with a time). Pure: time, signing
 * and verifying are arguments. Source: docs/spec/ledger.md §4. A blob is 72 bytes after its key id.
 */
import { concatBytes, parseSignature, readU64be, u64be, utf8Encode } from "../bytes.ts";
import type { PublicKey } from "../bytes.ts";
import { fail } from "../errors.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import type { Sign, Verify } from "./checkpoint.ts";
import { cosignatureKeyId, signaturesBy } from "./note.ts";
import type { Note, NoteSignature } from "./note.ts";

export interface Cosigner {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly sign: Sign;
}

export interface TrustedCosigner {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly verify: Verify;
}

const TIME_BYTES = 8;
const BLOB_BYTES = TIME_BYTES + 64;
const TIME_SECONDS_MAX = 2n ** 63n - 1n;

const malformed = (rule: string): never => fail({ kind: "malformedCheckpoint", rule });

/**
 * The bytes that a cosigner signs. `text` is the checkpoint's, including its final newline. @throws
 * malformedCheckpoint.
 */
export const cosignatureMessage = (text: string, timeSeconds: bigint): Uint8Array => {
  if (timeSeconds < 0n || timeSeconds > TIME_SECONDS_MAX) {
    malformed("a cosignature's time must be below 2^63 seconds");
  }
  parseCheckpoint(text);
  return utf8Encode(`cosignature/v1\ntime ${timeSeconds}\n${text}`);
};

/** @returns the line to add to the note. @throws malformedCheckpoint. */
export const signCosignature = async (
  text: string,
  timeSeconds: bigint,
  cosigner: Cosigner,
): Promise<NoteSignature> => {
  const keyId = cosignatureKeyId(cosigner.name, cosigner.publicKey);
  const signature = await cosigner.sign(cosignatureMessage(text, timeSeconds));
  return { name: cosigner.name, keyId, signature: concatBytes(u64be(timeSeconds), signature) };
};

/**
 * Verifies every cosignature that names this key. @returns the newest time stated, in seconds. @throws
 * malformedCheckpoint.
 */
export const verifyCosignature = async (note: Note, cosigner: TrustedCosigner): Promise<bigint> => {
  const own = signaturesBy(note, cosigner.name, cosignatureKeyId(cosigner.name, cosigner.publicKey));
  if (own.length === 0) malformed("must be cosigned by the witness's key");
  let newestSeconds = 0n;
  for (const { signature: blob } of own) {
    if (blob.length !== BLOB_BYTES) malformed("a cosignature must be 72 bytes");
    const timeSeconds = readU64be(blob);
    const message = cosignatureMessage(note.text, timeSeconds);
    const signature = parseSignature(blob.subarray(TIME_BYTES));
    if (!(await cosigner.verify(cosigner.publicKey, message, signature))) {
      malformed("the cosignature must verify");
    }
    if (timeSeconds > newestSeconds) newestSeconds = timeSeconds;
  }
  return newestSeconds;
};

/** The key name under which a witness of a deployment cosigns; the registry gives its public key. */
export const cosignerName = (origin: string, witness: string): string => `${origin}/witness/${witness}`;

/** A cosigner that a note names, and the newest time it states. */
export interface Cosigned {
  readonly name: string;
  readonly timeSeconds: bigint;
}

/**
 * Verifies the cosigners that the note names; lines of other keys are ignored.
 * @throws malformedCheckpoint if a line that names one of them does not verify.
 */
export const verifyCosigners = async (
  note: Note,
  cosigners: readonly TrustedCosigner[],
): Promise<readonly Cosigned[]> => {
  const found: Cosigned[] = [];
  for (const cosigner of cosigners) {
    const keyId = cosignatureKeyId(cosigner.name, cosigner.publicKey);
    if (signaturesBy(note, cosigner.name, keyId).length === 0) continue;
    found.push({ name: cosigner.name, timeSeconds: await verifyCosignature(note, cosigner) });
  }
  return found;
};
