/**
 * Turns a record's body into the bytes that the ledger stores: encoded and checked when a caller appends, signed in a
 * worker thread, then wrapped in an envelope whose hash is the ledger's entry. Source: docs/spec/record.md.
 */
import type { Hash } from "@sigil/core/bytes";
import { encodeProtected, encodeStatement, recordContentType, toBeSigned } from "@sigil/core/cose";
import {
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  subjectOf,
  type Disclosures,
  type RecordBody,
} from "@sigil/core/record";
import { leafHash } from "@sigil/core/merkle";
import type { Signer } from "../../crypto/signing/sign.ts";
import type { Numbered } from "./caller-numbers.ts";

export type PreparedRecord = {
  readonly body: RecordBody;
  readonly bodyBytes: Uint8Array;
  readonly hash: Hash;
  readonly attestations: readonly Uint8Array[];
  /** What is kept beside the envelope; it opens commitments of the body. */
  readonly disclosures?: Disclosures | undefined;
  /** Absent for a record that takes no number of its caller's. */
  readonly numbered?: Numbered | undefined;
};

export type SignedRecord = PreparedRecord & { readonly envelope: Uint8Array; readonly leaf: Hash };

/** @throws unencodableValue, malformedRecord, tooLarge: the caller's record breaks a rule. */
export const prepareRecord = (
  body: RecordBody,
  beside: Partial<Pick<PreparedRecord, "attestations" | "disclosures" | "numbered">> = {},
): PreparedRecord => {
  const bodyBytes = encodeBody(body);
  return { attestations: [], ...beside, body, bodyBytes, hash: hashRecord(bodyBytes) };
};

export const signRecord = async (
  record: PreparedRecord,
  { signer, origin }: { readonly signer: Signer; readonly origin: string },
): Promise<SignedRecord> => {
  const protectedBytes = encodeProtected({
    contentType: recordContentType,
    kid: signer.thumbprint,
    origin,
    subject: subjectOf(record.body),
  });
  const signature = await signer.sign(toBeSigned(protectedBytes, record.bodyBytes));
  const statement = encodeStatement({ protectedBytes, payload: record.bodyBytes, signature });
  const envelope = encodeEnvelope({ statement, attestations: record.attestations });
  return { ...record, envelope, leaf: leafHash(entryOf(envelope)) };
};
