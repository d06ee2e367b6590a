/**
 * Decodes and hashes a record from its bytes, independent of the server's other fields. Signatures are verified by
 * `sigil keys walk` and the server.
 */
import { openRecord, readRecord } from "@sigil/core/verify";
import { ProofError, type CanonicalRecord, type VersionedRecord } from "@sigil/client";
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { type RecordBody } from "@sigil/core/record";
import { jsonView } from "@sigil/core/cbor";
import { printable } from "../terminal/terminal.ts";

type Given = Pick<VersionedRecord, "record"> | undefined;

type Opened = { readonly body: RecordBody; readonly hash: Hash };

/** The body in an envelope, with its hash; undefined if there is no envelope. @throws if it is malformed. */
const openGiven = (given: Given): Opened | undefined => {
  const envelope = given?.record?.envelope ?? new Uint8Array(0);
  if (envelope.length === 0) return undefined;
  const position = given?.record?.position ?? 0n;
  const opened = openRecord(position, envelope);
  return { body: readRecord(opened, {}), hash: opened.hash };
};

/** The body if its bytes have that hash, or undefined. */
export const provenBody = (given: Given, hash: Hash): RecordBody | undefined => {
  const opened = openGiven(given);
  return opened !== undefined && equalBytes(opened.hash, hash) ? opened.body : undefined;
};

/** The requested record. */
export type Wanted = {
  /** Undefined if requested by hash. */
  readonly id: string | undefined;
  /** Undefined for either. */
  readonly space: RecordBody["space"] | undefined;
  /** Undefined for the tenant of whoever asks. */
  readonly tenant: string | undefined;
  readonly hash: Uint8Array | undefined;
};

const refuse = (rule: string): never => {
  throw new ProofError(`the server's answer is not the record it says it is: ${printable(rule)}`);
};

const opened = (given: Given): Opened => {
  try {
    return openGiven(given) ?? refuse("it came without its envelope");
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return refuse(`its envelope does not parse: ${error.message}`);
  }
};

/** Checks that all displayed fields match the record's bytes. @throws ProofError. */
export const examineRecord = (
  given: Given,
  { id, space, tenant, hash: wanted }: Wanted,
): { readonly body: RecordBody; readonly record: CanonicalRecord } => {
  const record = given?.record ?? refuse("there is none");
  const { body, hash } = opened(given);
  for (const said of [record.hash, wanted ?? hash]) {
    if (!equalBytes(hash, said)) refuse(`it hashes to ${toHex(hash)} and not to ${toHex(said)}`);
  }
  if (id !== undefined && body.id !== id) refuse(`it is "${body.id}" and not "${id}"`);
  // A hash names one record; it may be one of the system space.
  if (wanted === undefined) {
    if (space !== undefined && body.space !== space) refuse(`it is of the ${body.space} space`);
    if (tenant !== undefined && body.tenant !== tenant) refuse(`it is of tenant ${body.tenant}`);
  }
  for (const name of ["id", "kind", "tenant", "schemaVersion"] as const) {
    if (body[name] !== record[name]) refuse(`its ${name} is ${body[name]} and not ${record[name]}`);
  }
  // The view is empty if it would be too long for a reply.
  const isShown = record.payloadJson === "" || record.payloadJson === JSON.stringify(jsonView(body.payload));
  return isShown ? { body, record } : refuse("its JSON is not its payload");
};
