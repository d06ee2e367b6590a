/**
 * COSE_Sign1 statements (RFC 9052 §4.2) in the profile that Sigil signs, and key thumbprints (RFC 9679). Pure. Source:
 * docs/spec/record.md §3. A statement has exactly one encoding; any other COSE encoding is refused.
 */
import { sha256 } from "../hash.ts";
import {
  parseSignature,
  parseThumbprint,
  type Hash,
  type Mldsa44PublicKey,
  type PublicKey,
  type Signature,
  type Thumbprint,
} from "../bytes.ts";
import { cborDecodeHeader, cborEncodeHeader, type HeaderMap, type HeaderValue } from "../cbor/cbor.ts";
import { majorArray, majorMap, majorTag } from "../cbor/major.ts";
import { CborReader } from "../cbor/decode.ts";
import { encodeWith } from "../cbor/encode.ts";
import { fail } from "../errors.ts";
import {
  algEdDsa,
  asHeaderMap,
  claimIssuer,
  claimSubject,
  decodeNested,
  headerAlg,
  headerClaims,
  headerContentType,
  headerKid,
  tagSign1,
} from "./header.ts";

export const recordContentType = "application/vnd.sigil.record.v1+cbor";
export const attestationContentType = "application/vnd.sigil.attestation.v1+cbor";
export type ContentType = typeof recordContentType | typeof attestationContentType;

/** Content of a protected header. `subject` is `<tenant>/<space>/<id>`, or a proposal's id in an attestation. */
export interface ProtectedHeader {
  readonly contentType: ContentType;
  readonly kid: Thumbprint;
  readonly origin: string;
  readonly subject: string;
}

/** `protectedBytes` and `payload` are the bytes that were signed, copied from the statement. */
export interface Statement extends ProtectedHeader {
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Signature;
}

/** Reasons for refusing a statement, beyond those of canonical CBOR. */
export const coseRules = {
  tag: "must begin with tag 18",
  fields: "must be an array of four",
  protectedBytes: "protected header must be a byte string",
  unprotected: "unprotected header must be empty",
  payload: "payload must be a byte string",
  signature: "signature must be 64 bytes",
  header: "protected header must be the map of alg, content type, kid and CWT claims",
  alg: "alg must be EdDSA (-8)",
  contentType: "content type is not one of ours",
  kid: "kid must be 32 bytes",
  claims: "CWT claims must be issuer and subject, both non-empty text",
} as const;

const nothing = new Uint8Array(0);

const refuse = (rule: string): never => fail({ kind: "malformedCose", rule });

/** @throws unencodableValue when a text has a lone surrogate, malformedCose when origin or subject is empty. */
export const encodeProtected = (header: ProtectedHeader): Uint8Array => {
  if (header.origin === "" || header.subject === "") refuse(coseRules.claims);
  return encodeWith((writer) => {
    // Written by hand, in canonical order: this runs once for every record.
    writer.head(majorMap, 4);
    writer.value(headerAlg);
    writer.value(algEdDsa);
    writer.value(headerContentType);
    writer.text(header.contentType);
    writer.value(headerKid);
    writer.bytes(header.kid);
    writer.value(headerClaims);
    writer.head(majorMap, 2);
    writer.value(claimIssuer);
    writer.text(header.origin);
    writer.value(claimSubject);
    writer.text(header.subject);
  });
};

/** The Sig_structure whose bytes are signed: context "Signature1", no external data. */
export const toBeSigned = (protectedBytes: Uint8Array, payload: Uint8Array): Uint8Array =>
  encodeWith((writer) => {
    writer.head(majorArray, 4);
    writer.text("Signature1");
    writer.bytes(protectedBytes);
    writer.bytes(nothing);
    writer.bytes(payload);
  });

export const encodeStatement = (parts: {
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}): Uint8Array => {
  if (parts.signature.length !== 64) refuse(coseRules.signature);
  return encodeWith((writer) => {
    writer.head(majorTag, tagSign1);
    writer.head(majorArray, 4);
    writer.bytes(parts.protectedBytes);
    writer.head(majorMap, 0);
    writer.bytes(parts.payload);
    writer.bytes(parts.signature);
  });
};

/** Parses the header, which has exactly alg, content type, kid and claims. */
const parseProtected = (protectedBytes: Uint8Array): ProtectedHeader => {
  const header = asHeaderMap(decodeProtected(protectedBytes), 4);
  if (header === null) return refuse(coseRules.header);
  for (const key of [headerAlg, headerContentType, headerKid, headerClaims]) {
    if (!header.has(key)) refuse(coseRules.header);
  }
  if (header.get(headerAlg) !== algEdDsa) refuse(coseRules.alg);
  const contentType = header.get(headerContentType);
  if (contentType !== recordContentType && contentType !== attestationContentType) {
    return refuse(coseRules.contentType);
  }
  const kid = header.get(headerKid);
  if (!(kid instanceof Uint8Array) || kid.length !== 32) return refuse(coseRules.kid);
  const claims = asHeaderMap(header.get(headerClaims), 2);
  const origin = claims?.get(claimIssuer);
  const subject = claims?.get(claimSubject);
  if (typeof origin !== "string" || typeof subject !== "string" || origin === "" || subject === "") {
    return refuse(coseRules.claims);
  }
  return { contentType, kid: parseThumbprint(kid), origin, subject };
};

const decodeProtected = (protectedBytes: Uint8Array): HeaderValue =>
  decodeNested(
    "protected header",
    () => cborDecodeHeader(protectedBytes),
    (rule, cause) => fail({ kind: "malformedCose", rule }, { cause }),
  );

/**
 * Parses a statement and its header; does not verify the signature.
 * @throws malformedCose for the shape, malformedCbor for heads that are not canonical, truncated or followed by more
 * bytes.
 */
export const parseStatement = (bytes: Uint8Array): Statement => {
  const reader = new CborReader(bytes, "headerKeys");
  const part = (rule: string): Uint8Array => {
    const range = reader.byteRange() ?? refuse(rule);
    return Uint8Array.from(bytes.subarray(range.start, range.end));
  };
  if (!reader.take((majorTag << 5) | tagSign1)) refuse(coseRules.tag);
  if (!reader.take((majorArray << 5) | 4)) refuse(coseRules.fields);
  const protectedBytes = part(coseRules.protectedBytes);
  if (!reader.take(majorMap << 5)) refuse(coseRules.unprotected);
  const payload = part(coseRules.payload);
  const signature = part(coseRules.signature);
  if (signature.length !== 64) refuse(coseRules.signature);
  reader.done();
  return { ...parseProtected(protectedBytes), protectedBytes, payload, signature: parseSignature(signature) };
};

const thumbprintOf = (...members: readonly (readonly [number, HeaderValue])[]): Thumbprint => {
  const key: HeaderMap = new Map<number, HeaderValue>(members);
  const digest: Hash = sha256(cborEncodeHeader(key));
  return parseThumbprint(digest);
};

/** The COSE key thumbprint of an Ed25519 public key: SHA-256 of `{1: 1 (OKP), -1: 6 (Ed25519), -2: x}`. */
export const coseKeyThumbprint = (publicKey: PublicKey): Thumbprint =>
  thumbprintOf([1, 1], [-1, 6], [-2, publicKey]);

/** That of an ML-DSA-44 public key: SHA-256 of `{1: 7 (AKP), 3: -48 (ML-DSA-44), -1: pub}`. */
export const mldsa44KeyThumbprint = (publicKey: Mldsa44PublicKey): Thumbprint =>
  thumbprintOf([1, 7], [3, -48], [-1, publicKey]);
