/**
 * An envelope without attestations, made in one buffer around what is signed: the Sig_structure and the statement have
 * header and body in the same order, so that only their heads and one byte between the two differ. Pure. Source:
 * docs/spec/record.md §3 and §5. For statements of 256 bytes to 64 KiB; longer ones are left to `encodeStatement`.
 */
import { assert } from "../errors.ts";
import type { Thumbprint } from "../bytes.ts";
import { encodeWith } from "../cbor/encode.ts";
import { majorBytes, shortestHeadBytes } from "../cbor/major.ts";
import { encodeProtected, recordContentType } from "../cose/cose.ts";

/** An array of four and "Signature1", RFC 9052 §4.4. */
const signatureContext = Uint8Array.of(
  0x84,
  0x6a,
  0x53,
  0x69,
  0x67,
  0x6e,
  0x61,
  0x74,
  0x75,
  0x72,
  0x65,
  0x31,
);
const emptyBytes = 0x40;
const emptyMap = 0xa0;
const signatureBytes = 64;
/** The head of the signature, the signature, and the empty array of attestations. */
const tailBytes = 2 + signatureBytes + 1;
/** An array of two, the statement's head of three bytes, tag 18 and an array of four. */
const headBytes = 6;
const envelopeAt = signatureContext.length - headBytes;
const statementBytesMin = 0x100;
const statementBytesMax = 0xffff;

export type DraftHeader = { readonly kid: Thumbprint; readonly origin: string };

/** The protected header up to its subject. One signer's is used for very many records. */
let known: (DraftHeader & { readonly bytes: Uint8Array }) | undefined;

const beforeSubject = ({ kid, origin }: DraftHeader): Uint8Array => {
  if (known?.kid === kid && known.origin === origin) return known.bytes;
  const header = encodeProtected({ contentType: recordContentType, kid, origin, subject: "-" });
  // A subject of one byte has a head of one.
  known = { kid, origin, bytes: header.slice(0, -2) };
  return known.bytes;
};

export class EnvelopeDraft {
  readonly #buffer: Uint8Array;
  readonly #between: number;

  private constructor(buffer: Uint8Array, between: number) {
    this.#buffer = buffer;
    this.#between = between;
  }

  /** @param subject of a valid body, hence ASCII. @returns undefined if the statement is too short or too long. */
  static of(header: DraftHeader, subject: string, body: Uint8Array): EnvelopeDraft | undefined {
    const before = beforeSubject(header);
    const protectedBytes = before.length + shortestHeadBytes(subject.length) + subject.length;
    const between = signatureContext.length + shortestHeadBytes(protectedBytes) + protectedBytes;
    const statement =
      2 +
      between -
      signatureContext.length +
      1 +
      shortestHeadBytes(body.length) +
      body.length +
      tailBytes -
      1;
    if (subject === "" || body.length > statementBytesMax) return undefined;
    if (statement < statementBytesMin || statement > statementBytesMax) return undefined;
    const buffer = encodeWith((writer) => {
      writer.raw(signatureContext);
      writer.head(majorBytes, protectedBytes);
      writer.raw(before);
      writer.text(subject);
      writer.head(majorBytes, 0);
      writer.bytes(body);
      writer.skip(tailBytes);
    });
    assert(
      buffer.length === envelopeAt + headBytes - 2 + statement + 1,
      "a draft has the length that it was given",
    );
    return new EnvelopeDraft(buffer, between);
  }

  /** The Sig_structure. It must not be read any more once the envelope was made. */
  get toBeSigned(): Uint8Array {
    return this.#buffer.subarray(0, -tailBytes);
  }

  /** The envelope, in the place of what was signed. Call once. */
  sign(signature: Uint8Array): Uint8Array {
    const buffer = this.#buffer;
    const end = buffer.length - tailBytes;
    assert(signature.length === signatureBytes, "a signature is 64 bytes");
    assert(buffer[this.#between] === emptyBytes, "a draft is signed once");
    const statement = buffer.length - signatureContext.length + 1;
    buffer[envelopeAt] = 0x82;
    buffer[envelopeAt + 1] = 0x59;
    buffer[envelopeAt + 2] = statement >>> 8;
    buffer[envelopeAt + 3] = statement & 0xff;
    buffer[envelopeAt + 4] = 0xd2;
    buffer[envelopeAt + 5] = 0x84;
    buffer[this.#between] = emptyMap;
    buffer[end] = 0x58;
    buffer[end + 1] = signatureBytes;
    buffer.set(signature, end + 2);
    buffer[end + 2 + signatureBytes] = 0x80;
    return buffer.subarray(envelopeAt);
  }
}
