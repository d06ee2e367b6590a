/**
 * Signed notes, C2SP signed-note: text, a blank line, signature lines. Pure; nothing is verified here.
 * Source: docs/spec/ledger.md §4. At most 512 KiB and 64 signatures.
 */
import { sha256 } from "../hash.ts";
import { concatBytes, equalBytes, toBase64, utf8Encode } from "../bytes.ts";
import type { Mldsa44PublicKey, PublicKey } from "../bytes.ts";
import { fail } from "../errors.ts";
import { noteBytesMax, noteSignaturesMax } from "../limits.ts";
import { parseBase64 } from "./base64.ts";

export interface NoteSignature {
  readonly name: string;
  /** 4 bytes. Together with the name identifies key and algorithm. */
  readonly keyId: Uint8Array;
  /** The signature, at least one byte; 64 for Ed25519, a time and 2,420 for ML-DSA-44. */
  readonly signature: Uint8Array;
}

export interface Note {
  /** The signed text, ending in a newline. */
  readonly text: string;
  /** In order, including those by unknown keys. */
  readonly signatures: readonly NoteSignature[];
}

/** Signature types of C2SP signed-note that Sigil uses. */
const NOTE_ED25519 = 0x01;
const NOTE_COSIGNATURE = 0x04;
const NOTE_MLDSA44 = 0x06;

const KEY_ID_BYTES = 4;
const SIGNATURE_PREFIX = "\u2014 ";

const malformed = (rule: string): never => fail({ kind: "malformedCheckpoint", rule });

// Control characters below space except newline. DEL and C1 are allowed, as by C2SP signed-note.
const holdsControl = (text: string): boolean => {
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x20 && unit !== 0x0a) return true;
  }
  return false;
};

/** Checks a note's text. @throws malformedCheckpoint. */
export const checkNoteText = (text: string): void => {
  if (text.length > noteBytesMax || utf8Encode(text).length > noteBytesMax) {
    malformed(`must be at most ${noteBytesMax} bytes`);
  }
  if (!text.isWellFormed()) malformed("must be well-formed Unicode");
  if (holdsControl(text)) malformed("must hold no control character");
  if (!text.endsWith("\n")) malformed("must end in a newline");
};

/** @throws malformedCheckpoint unless the name is valid in a signature line. */
export const checkKeyName = (name: string): void => {
  if (name === "" || /[\p{White_Space}+]/u.test(name)) {
    malformed("a key name must be non-empty, without white space and plus signs");
  }
};

const parseSignatureLine = (line: string): NoteSignature => {
  const [name, blobText, ...rest] = line.startsWith(SIGNATURE_PREFIX)
    ? line.slice(SIGNATURE_PREFIX.length).split(" ")
    : [];
  if (name === undefined || blobText === undefined || rest.length > 0) {
    return malformed("a signature line must be an em dash, a key name and base64, one space apart");
  }
  checkKeyName(name);
  const blob = parseBase64(blobText, () => malformed("a signature must be padded standard base64"));
  if (blob.length <= KEY_ID_BYTES)
    malformed("a signature must be a 4-byte key id and at least one byte more");
  return { name, keyId: blob.slice(0, KEY_ID_BYTES), signature: blob.slice(KEY_ID_BYTES) };
};

/**
 * Strict. Signatures of any key and algorithm are kept; a malformed line refuses the note. @throws malformedCheckpoint.
 */
export const parseNote = (note: string): Note => {
  checkNoteText(note);
  const blank = note.lastIndexOf("\n\n");
  if (blank < 0) malformed("must have a blank line before its signatures");
  const lines = note
    .slice(blank + 2)
    .split("\n")
    .slice(0, -1);
  if (lines.length === 0) malformed("must have at least one signature");
  if (lines.length > noteSignaturesMax) malformed(`must have at most ${noteSignaturesMax} signatures`);
  return { text: note.slice(0, blank + 1), signatures: lines.map(parseSignatureLine) };
};

/** @throws malformedCheckpoint if the result would not parse back. */
export const formatNote = (note: Note): string => {
  checkNoteText(note.text);
  if (note.signatures.length === 0) malformed("must have at least one signature");
  if (note.signatures.length > noteSignaturesMax) {
    malformed(`must have at most ${noteSignaturesMax} signatures`);
  }
  const lines = note.signatures.map(({ name, keyId, signature }) => {
    checkKeyName(name);
    if (keyId.length !== KEY_ID_BYTES || signature.length === 0) {
      malformed("a signature must be a 4-byte key id and at least one byte more");
    }
    return `${SIGNATURE_PREFIX}${name} ${toBase64(concatBytes(keyId, signature))}\n`;
  });
  const formatted = `${note.text}\n${lines.join("")}`;
  checkNoteText(formatted);
  return formatted;
};

const keyIdOf = (name: string, type: number, publicKey: Uint8Array): Uint8Array => {
  checkKeyName(name);
  const preimage = concatBytes(utf8Encode(name), Uint8Array.of(0x0a, type), publicKey);
  return sha256(preimage).slice(0, KEY_ID_BYTES);
};

/** @returns SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[0..4], for plain Ed25519 signatures. */
export const noteKeyId = (name: string, publicKey: PublicKey): Uint8Array =>
  keyIdOf(name, NOTE_ED25519, publicKey);

/** @returns SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key)[0..4], for cosignature/v1. */
export const cosignatureKeyId = (name: string, publicKey: PublicKey): Uint8Array =>
  keyIdOf(name, NOTE_COSIGNATURE, publicKey);

/** @returns SHA-256(name ‖ 0x0A ‖ 0x06 ‖ public key)[0..4], for subtree/v1. */
export const mldsa44KeyId = (name: string, publicKey: Mldsa44PublicKey): Uint8Array =>
  keyIdOf(name, NOTE_MLDSA44, publicKey);

/** The note's signatures that claim to be by that key; may be empty. */
export const signaturesBy = (note: Note, name: string, keyId: Uint8Array): readonly NoteSignature[] =>
  note.signatures.filter((line) => line.name === name && equalBytes(line.keyId, keyId));
