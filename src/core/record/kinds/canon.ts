/**
 * Payloads of `tombstone`, `schema` and `attestation`, which Canon keeps besides its callers' records. Pure. Source:
 * docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { anyMap, bytesField, exactMap, oneOfField, refuseField, textField } from "../fields.ts";

/** Ends an id: a version without content; a later version may revive the id. */
export interface TombstonePayload {
  /** The kind of the ended record. */
  readonly kind: string;
}

/** A JSON Schema (2020-12) that later user records of a kind must match. */
export interface SchemaPayload {
  readonly kind: string;
  readonly schema: CborMap;
}

export const attestationRoles = ["approve", "reject", "possession"] as const;
export type AttestationRole = (typeof attestationRoles)[number];

/** A witness's statement about a proposal, as received. */
export interface AttestationPayload {
  /** Id of the proposal's record. */
  readonly proposal: string;
  /** Id of the witness. */
  readonly witness: string;
  /** `possession` is a statement by the key that the proposal enrols; not an approval. */
  readonly role: AttestationRole;
  /** COSE_Sign1, not parsed here. */
  readonly statement: Uint8Array;
}

const path = "payload";

/** @throws malformedRecord naming the field. */
export const parseTombstone = (payload: CborValue): TombstonePayload => ({
  kind: textField(exactMap(payload, path, ["kind"]), path, "kind"),
});

export const formatTombstone = ({ kind }: TombstonePayload): CborMap => ({ kind });

/** That `schema` is a JSON Schema is checked where it is proposed. @throws malformedRecord naming the field. */
export const parseSchema = (payload: CborValue): SchemaPayload => {
  const map = exactMap(payload, path, ["kind", "schema"]);
  return { kind: textField(map, path, "kind"), schema: anyMap(map["schema"], `${path}.schema`) };
};

export const formatSchema = ({ kind, schema }: SchemaPayload): CborMap => ({ kind, schema });

/** @throws malformedRecord naming the field. */
export const parseAttestationRecord = (payload: CborValue): AttestationPayload => {
  const map = exactMap(payload, path, ["proposal", "witness", "role", "statement"]);
  const statement = bytesField(map, path, "statement");
  if (statement.length === 0) refuseField(path, "statement", "must not be empty");
  return {
    proposal: textField(map, path, "proposal"),
    witness: textField(map, path, "witness"),
    role: oneOfField(map, path, "role", attestationRoles),
    statement: Uint8Array.from(statement),
  };
};

export const formatAttestationRecord = (attestation: AttestationPayload): CborMap => ({
  proposal: attestation.proposal,
  witness: attestation.witness,
  role: attestation.role,
  statement: attestation.statement,
});
