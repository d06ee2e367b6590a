/**
 * Checkpoints, C2SP tlog-checkpoint: lines of `origin`, size and root, as a signed note. Pure: signing and verifying
 * functions are arguments. Source: docs/spec/ledger.md §4. Limits are those of a note.
 */
import { parseSignature, toBase64, utf8Encode } from "../bytes.ts";
import type { Hash, Mldsa44PublicKey, PublicKey, Signature } from "../bytes.ts";
import { fail } from "../errors.ts";
import { treeSizeMax } from "../limits.ts";
import { parseBase64Hash } from "./base64.ts";
import { checkNoteText, formatNote, noteKeyId, parseNote, signaturesBy } from "./note.ts";
import { verifySubtreeLines } from "./subtree-signature.ts";

export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Hash;
  /** Opaque extension lines of other logs, each non-empty; absent if there are none. Sigil writes none. */
  readonly extensions?: readonly string[];
}

export type Sign = (message: Uint8Array) => Promise<Signature>;
export type Verify = (publicKey: PublicKey, message: Uint8Array, signature: Signature) => Promise<boolean>;

export interface CheckpointSigner {
  readonly publicKey: PublicKey;
  readonly sign: Sign;
}

/** The log that the reader trusts, known in advance; never taken from the note. */
export interface TrustedLog {
  readonly origin: string;
  readonly publicKey: PublicKey;
  readonly verify: Verify;
  /** The key of its ML-DSA-44 lines, if it is known to have one: a note need not have such a line. */
  readonly mldsa44Key?: Mldsa44PublicKey | undefined;
}

const malformed = (rule: string): never => fail({ kind: "malformedCheckpoint", rule });

const parseSize = (text: string): bigint => {
  if (!/^(?:0|[1-9][0-9]*)$/.test(text)) malformed("size must be decimal without leading zeroes");
  // Check the length first: conversion is superlinear in the length.
  if (text.length > 20 || BigInt(text) > treeSizeMax) malformed("size must be a uint64");
  return BigInt(text);
};

const parseRoot = (text: string): Hash =>
  parseBase64Hash(text, () => malformed("root must be padded standard base64 of 32 bytes"));

/** Parses the unsigned text. Strict: `formatCheckpoint` of the result is the text. @throws malformedCheckpoint. */
export const parseCheckpoint = (text: string): Checkpoint => {
  checkNoteText(text);
  const [origin, sizeText, rootText, ...extensions] = text.slice(0, -1).split("\n");
  if (origin === undefined || sizeText === undefined || rootText === undefined) {
    return malformed("must have an origin, a size and a root line");
  }
  if (origin === "") malformed("origin must not be empty");
  const size = parseSize(sizeText);
  const root = parseRoot(rootText);
  if (extensions.includes("")) malformed("an extension line must not be empty");
  return extensions.length === 0 ? { origin, size, root } : { origin, size, root, extensions };
};

/** The unsigned text, ending in a newline. @throws malformedCheckpoint if it would not parse back. */
export const formatCheckpoint = (checkpoint: Checkpoint): string => {
  const lines = [
    checkpoint.origin,
    checkpoint.size.toString(),
    toBase64(checkpoint.root),
    ...(checkpoint.extensions ?? []),
  ];
  if (lines.some((line) => line.includes("\n"))) malformed("a line must hold no newline");
  const text = `${lines.join("\n")}\n`;
  parseCheckpoint(text);
  return text;
};

/**
 * @returns the note, signed under the origin's name. @throws malformedCheckpoint if the origin is not a valid key name.
 */
export const signCheckpoint = async (checkpoint: Checkpoint, signer: CheckpointSigner): Promise<string> => {
  const text = formatCheckpoint(checkpoint);
  const keyId = noteKeyId(checkpoint.origin, signer.publicKey);
  const signature = await signer.sign(utf8Encode(text));
  return formatNote({ text, signatures: [{ name: checkpoint.origin, keyId, signature }] });
};

/**
 * Verifies a note and returns its checkpoint. Signatures by other keys are ignored; each that names a key of this log
 * must verify, and one by its Ed25519 key must be there.
 * @throws malformedCheckpoint.
 */
export const verifyCheckpoint = async (note: string, log: TrustedLog): Promise<Checkpoint> => {
  const parsed = parseNote(note);
  const checkpoint = parseCheckpoint(parsed.text);
  if (checkpoint.origin !== log.origin) malformed("origin must be the one expected");
  const own = signaturesBy(parsed, log.origin, noteKeyId(log.origin, log.publicKey));
  if (own.length === 0) malformed("must be signed by the log's key");
  const message = utf8Encode(parsed.text);
  for (const { signature } of own) {
    if (signature.length !== 64) malformed("an Ed25519 signature must be 64 bytes");
    if (!(await log.verify(log.publicKey, message, parseSignature(signature)))) {
      malformed("the signature must verify");
    }
  }
  if (log.mldsa44Key !== undefined) await verifySubtreeLines(parsed, checkpoint, log.mldsa44Key);
  return checkpoint;
};
