/**
 * Opens and verifies a record in named steps. Pure. Every reader (serving ledger, full walk, key ring, export, command
 * line, client) takes the steps that it has the inputs for, in this order; a step's refusal, and nothing else, is
 * damage of the record, `recordCorrupt`. Source: docs/spec/record.md and docs/spec/ledger.md.
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

/** In order; `seal` needs the key for data at rest. */
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

/** A parsed but unverified record. */
export type OpenedRecord = {
  readonly position: bigint;
  readonly envelope: Uint8Array;
  readonly statement: Statement;
  readonly attestations: readonly Uint8Array[];
  /** The body's hash, by which links, indexes and decisions name the record. */
  readonly hash: Hash;
};

/** Values known in advance that the record must match. */
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

/** Runs `work` and converts format errors to recordCorrupt naming the step. */
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

/** Step `key`: finds the ledger key that signed it. @throws recordCorrupt. */
export const signerOf = ({ position, statement }: OpenedRecord, ring: KeyRing): KeyEntry<"record"> => {
  const found = findSigner(ring, "record", statement.kid, position);
  return found.kind === "refused" ? refuseRecord(position, "key", found.rule) : found.entry;
};

/** Step `signature`. @throws recordCorrupt. */
export const requireSignature = async (
  { position, statement }: OpenedRecord,
  signer: Pick<KeyEntry<"record">, "publicKey">,
  verify: VerifySignature,
): Promise<void> => {
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  if (await verify(signer.publicKey, message, statement.signature)) return;
  refuseRecord(position, "signature", "the Ed25519 signature does not verify");
};

/**
 * Step `schema`: reads the body and checks it against the signed header and the expected values. @throws recordCorrupt.
 */
export const readRecord = ({ position, statement }: OpenedRecord, { origin, tenant }: Expected): RecordBody =>
  inStep(position, "schema", () => {
    const body = decodeBody(statement.payload);
    const refuse = (rule: string): never => refuseRecord(position, "schema", rule);
    if (origin !== undefined && statement.origin !== origin) refuse("the statement names another origin");
    if (statement.subject !== subjectOf(body)) refuse("the statement's subject is not the record's");
    if (tenant !== undefined && body.tenant !== tenant) refuse("the record belongs to another tenant");
    return body;
  });

/** The ledger's leaf hash for an envelope. */
export const leafOf = (envelope: Uint8Array): Hash => leafHash(entryOf(envelope));

export type Tree = { readonly size: bigint; readonly root: Hash };

/** Step `inclusion`: the record is at its position in the tree. @throws recordCorrupt. */
export const requireInclusion = (
  { position, envelope }: Pick<OpenedRecord, "position" | "envelope">,
  { size, root }: Tree,
  proof: readonly Hash[],
): void => {
  const claim = { leafIndex: position, treeSize: size, leafHash: leafOf(envelope), root, proof };
  const outcome = inStep(position, "inclusion", () => checkInclusion(claim));
  if (outcome.kind === "refused") refuseRecord(position, "inclusion", outcome.rule);
};

/** A record that passed every step up to `schema`. */
export type SignedRecord = OpenedRecord & { readonly body: RecordBody; readonly signedBy: KeyEntry };

/** Runs all steps that need no tree. @throws recordCorrupt naming the step. */
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
