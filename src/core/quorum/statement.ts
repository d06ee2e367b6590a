/**
 * Encoding and parsing of attestation statements, which witnesses sign. Pure. Source: docs/spec/record.md §4. A
 * statement has exactly one encoding.
 */
import { sha256 } from "../hash.ts";
import { parseHash, type PublicKey, type Signature } from "../bytes.ts";
import { decodeAttestation, encodeAttestation, type Attestation } from "../record/attestation.ts";
import {
  attestationContentType,
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  parseStatement,
  toBeSigned,
} from "../cose/cose.ts";
import { fail } from "../errors.ts";
import type { SignedAttestation } from "./plan.ts";

export type AttestationToSign = {
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  /** The bytes to sign. */
  readonly message: Uint8Array;
};

export type AttestationStatement = SignedAttestation & {
  /** The bytes that were signed. */
  readonly message: Uint8Array;
  readonly signature: Signature;
};

/** @throws malformedRecord naming the field of the attestation, malformedCose when the origin is empty. */
export const attestationToSign = (
  attestation: Attestation,
  by: { readonly origin: string; readonly publicKey: PublicKey },
): AttestationToSign => {
  const payload = encodeAttestation(attestation);
  const protectedBytes = encodeProtected({
    contentType: attestationContentType,
    kid: coseKeyThumbprint(by.publicKey),
    origin: by.origin,
    subject: attestation.proposal,
  });
  return { protectedBytes, payload, message: toBeSigned(protectedBytes, payload) };
};

/** @throws malformedCose unless the signature is 64 bytes. */
export const formatAttestationStatement = (toSign: AttestationToSign, signature: Uint8Array): Uint8Array =>
  encodeStatement({ protectedBytes: toSign.protectedBytes, payload: toSign.payload, signature });

/**
 * Does not verify the signature.
 * @throws malformedCose, malformedCbor or malformedRecord naming the rule; also for a statement about a record, and if
 * the subject is not the proposal in the payload.
 */
export const parseAttestationStatement = (bytes: Uint8Array): AttestationStatement => {
  const { contentType, kid, origin, subject, protectedBytes, payload, signature } = parseStatement(bytes);
  if (contentType !== attestationContentType) {
    fail({ kind: "malformedCose", rule: `content type must be ${attestationContentType}` });
  }
  const attestation = decodeAttestation(payload);
  if (subject !== attestation.proposal) {
    fail({ kind: "malformedCose", rule: "subject must be the proposal that the payload names" });
  }
  const digest = parseHash(sha256(bytes));
  const message = toBeSigned(protectedBytes, payload);
  return { origin, subject, kid, attestation, digest, message, signature };
};
