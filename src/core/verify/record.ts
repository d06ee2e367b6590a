/**
 * The one way to open and verify a record, as named steps. Pure. Whoever reads a record (the ledger that serves, the
 * walk over all of it, the ring of keys, an export, the command line, a client) takes the steps that it has the means
 * for, in this order; what a step refuses is damage of the record, `recordCorrupt`, and nothing else is. Source:
 * docs/spec/record.md and docs/spec/ledger.md.
 */
import type { Hash, PublicKey, Signature } from "../bytes.ts";
import { parseStatement, recordContentType, toBeSigned, type Statement } from "../cose/cose.ts";
import { fail, Fault } from "../errors.ts";
import { findSigner, type KeyEntry, type KeyRing } from "../keys/ring.ts";
import { leafHash } from "../merkle/hash.ts";
import { checkInclusion } from "../merkle/proof.ts";
import {
  decodeBody,
  decodeEnvelope,
  entryOf,
  hashRecord,
  subjectOf,
  type RecordBody,
} from "../record/record.ts";

/** In the order in which they are taken; `seal` is for whoever holds the key to what is at rest. */
export const recordSteps = [
  "seal",
  "envelope",
  "hash",
  "key",
  "signature",
  "schema",
  "inclusion",
  "checkpoint",
] as const;
export type RecordStep = (typeof recordSteps)[number];

export type VerifySignature = (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Signature,
) => Promise<boolean>;

/** A record's bytes taken apart, of which nothing is believed yet. */
export type OpenedRecord = {
  readonly position: bigint;
  readonly envelope: Uint8Array;
  readonly statement: Statement;
  readonly attestations: readonly Uint8Array[];
  /** Of the body: what links, indexes and decisions name the record by. */
  readonly hash: Hash;
};

/** What is known beforehand, and the record must agree with. */
export type Expected = {
  readonly origin?: string;
  readonly tenant?: string;
};

/** @throws recordCorrupt always. */
const refuseRecord = (position: bigint, step: RecordStep, rule: string, cause?: unknown): never =>
  fail({ kind: "recordCorrupt", position, step, rule }, { cause });

const ruleOf = ({ error, message }: Fault): string => {
  if (error.kind === "malformedRecord") return `${error.field} ${error.rule}`;
  return "rule" in error ? error.rule : message;
};

/** What breaks a rule of a format is the record's fault, and says at which step. */
export const inStep = <T>(position: bigint, step: RecordStep, work: () => T): T => {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof Fault) || cause.error.kind === "recordCorrupt") throw cause;
    return refuseRecord(position, step, ruleOf(cause), cause);
  }
};

/** Step `envelope`. @throws recordCorrupt. */
export const openRecord = (position: bigint, envelope: Uint8Array): OpenedRecord =>
  inStep(position, "envelope", () => {
    const { statement: signed, attestations } = decodeEnvelope(envelope);
    const statement = parseStatement(signed);
    if (statement.contentType !== recordContentType) {
      return refuseRecord(position, "envelope", "the statement is not over a record");
    }
    return { position, envelope, statement, attestations, hash: hashRecord(statement.payload) };
  });

/** Step `key`: whose key of the ledger signed it. @throws recordCorrupt. */
export const signerOf = ({ position, statement }: OpenedRecord, ring: KeyRing): KeyEntry => {
  const found = findSigner(ring, "record", statement.kid, position);
  return found.kind === "refused" ? refuseRecord(position, "key", found.rule) : found.entry;
};

/** Step `signature`. @throws recordCorrupt. */
export const requireSignature = async (
  { position, statement }: OpenedRecord,
  signer: Pick<KeyEntry, "publicKey">,
  verify: VerifySignature,
): Promise<void> => {
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  if (await verify(signer.publicKey, message, statement.signature)) return;
  refuseRecord(position, "signature", "the Ed25519 signature does not verify");
};

/** Step `schema`: the body, which the signed header and what is known beforehand agree with. @throws recordCorrupt. */
export const readRecord = ({ position, statement }: OpenedRecord, { origin, tenant }: Expected): RecordBody =>
  inStep(position, "schema", () => {
    const body = decodeBody(statement.payload);
    const refuse = (rule: string): never => refuseRecord(position, "schema", rule);
    if (origin !== undefined && statement.origin !== origin) refuse("the statement names another origin");
    if (statement.subject !== subjectOf(body)) refuse("the statement's subject is not the record's");
    if (tenant !== undefined && body.tenant !== tenant) refuse("the record belongs to another tenant");
    return body;
  });

/** The leaf that a ledger holds for an envelope. */
export const leafOf = (envelope: Uint8Array): Hash => leafHash(entryOf(envelope));

export type Tree = { readonly size: bigint; readonly root: Hash };

/** Step `inclusion`: the record stands at its position of a tree. @throws recordCorrupt. */
export const requireInclusion = (
  { position, envelope }: Pick<OpenedRecord, "position" | "envelope">,
  { size, root }: Tree,
  proof: readonly Hash[],
): void => {
  const claim = { leafIndex: position, treeSize: size, leafHash: leafOf(envelope), root, proof };
  const outcome = inStep(position, "inclusion", () => checkInclusion(claim));
  if (outcome.kind === "refused") refuseRecord(position, "inclusion", outcome.rule);
};

/** A record that passed every step up to its schema. */
export type SignedRecord = OpenedRecord & { readonly body: RecordBody; readonly signedBy: KeyEntry };

/** All steps that need no tree. @throws recordCorrupt naming the step. */
export const verifySigned = async (
  position: bigint,
  envelope: Uint8Array,
  { ring, verify, ...expected }: Expected & { readonly ring: KeyRing; readonly verify: VerifySignature },
): Promise<SignedRecord> => {
  const opened = openRecord(position, envelope);
  const signedBy = signerOf(opened, ring);
  await requireSignature(opened, signedBy, verify);
  return { ...opened, body: readRecord(opened, expected), signedBy };
};
