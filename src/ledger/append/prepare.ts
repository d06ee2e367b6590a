/**
 * Turns a record's body into the bytes that the ledger stores: encoded and checked when a caller appends, signed in a
 * worker thread or, where few wait, on the event loop, then wrapped in an envelope whose hash is the ledger's entry.
 * Source: docs/spec/record.md.
 */
import type { Hash } from "@sigil/core/bytes";
import { encodeProtected, encodeStatement, recordContentType, toBeSigned } from "@sigil/core/cose";
import {
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  subjectOf,
  EnvelopeDraft,
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

/** The general way, of any length and with attestations. */
const signWhole = async (
  { body, bodyBytes, attestations }: PreparedRecord,
  { signer, origin }: Signing,
): Promise<Uint8Array> => {
  const protectedBytes = encodeProtected({
    contentType: recordContentType,
    kid: signer.thumbprint,
    origin,
    subject: subjectOf(body),
  });
  const signature = await signer.sign(toBeSigned(protectedBytes, bodyBytes));
  return encodeEnvelope({
    statement: encodeStatement({ protectedBytes, payload: bodyBytes, signature }),
    attestations,
  });
};

type Signing = { readonly signer: Signer; readonly origin: string };

const draftOf = ({ body, bodyBytes, attestations }: PreparedRecord, { signer, origin }: Signing) =>
  attestations.length === 0
    ? EnvelopeDraft.of({ kid: signer.thumbprint, origin }, subjectOf(body), bodyBytes)
    : undefined;

const withEnvelope = (
  { body, bodyBytes, hash, attestations, disclosures, numbered }: PreparedRecord,
  envelope: Uint8Array,
): SignedRecord => {
  const leaf = leafHash(entryOf(envelope));
  return { body, bodyBytes, hash, attestations, disclosures, numbered, envelope, leaf };
};

/** @throws keyUnavailable. */
export const signRecord = async (record: PreparedRecord, signing: Signing): Promise<SignedRecord> => {
  const draft = draftOf(record, signing);
  const envelope =
    draft === undefined
      ? await signWhole(record, signing)
      : draft.sign(await signing.signer.sign(draft.toBeSigned));
  return withEnvelope(record, envelope);
};

/** On the event loop. @returns undefined for a record or a signer that takes the other way. @throws keyUnavailable. */
export const signRecordNow = (record: PreparedRecord, signing: Signing): SignedRecord | undefined => {
  const { signNow } = signing.signer;
  const draft = signNow && draftOf(record, signing);
  const signature = draft && signNow(draft.toBeSigned);
  return signature && withEnvelope(record, draft.sign(signature));
};
