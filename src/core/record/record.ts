/**
 * Record bodies, their hash, and the envelope that is stored, published and exported. Pure.
 * Source: docs/spec/record.md §2 and §5. The same checks run on encode and on decode.
 */
import { sha256 } from "../hash.ts";
import { utf8Encode, type Hash } from "../bytes.ts";
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../cbor/cbor.ts";
import { encodeWith } from "../cbor/encode.ts";
import { parseStatement, recordContentType, type Statement } from "../cose/cose.ts";
import {
  anyMap,
  anyTextField,
  exactMap,
  hashField,
  hashOrNullField,
  listField,
  oneOfField,
  refuseField,
  textField,
  uintField,
} from "./fields.ts";
import { encodeDecision } from "./decision-writer.ts";
import { checkPayload } from "./kinds.ts";
import { attestationsMax, kindBytesMax, labelBytesMax, linksMax, schemaVersionMax } from "../limits.ts";
import { recordIdFault, spaces, systemTenant, tenantFault, type Space } from "./names.ts";

export interface RecordLink {
  readonly label: string;
  /** Hash of another record. */
  readonly target: Hash;
}

export interface RecordBody {
  readonly kind: string;
  /** Payload schema version of this kind, 1 to 65535. */
  readonly schemaVersion: number;
  readonly id: string;
  readonly tenant: string;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly ts: number;
  readonly space: Space;
  readonly payload: CborValue;
  readonly links: readonly RecordLink[];
  /** Hash of the previous version of (tenant, space, id). */
  readonly prev: Hash | null;
}

/** The hash that the record links to under the label; undefined if it has no such link. */
export const linkTo = ({ links }: Pick<RecordBody, "links">, label: string): Hash | undefined =>
  links.find((link) => link.label === label)?.target;

/** `statement` is the signed record; attestations are witness statements over the same body. */
export interface Envelope {
  readonly statement: Uint8Array;
  readonly attestations: readonly Uint8Array[];
}

const bodyKeys = ["kind", "schema_version", "id", "tenant", "ts", "space", "payload", "links", "prev"];
const linkKeys = ["label", "target"];

const shortText = (map: CborMap, path: string, name: string, bytesMax: number): string => {
  const text = textField(map, path, name, bytesMax);
  // UTF-8 takes at most three bytes for a UTF-16 unit, so short text needs no counting.
  if (text.length * 3 > bytesMax && utf8Encode(text).length > bytesMax) {
    refuseField(path, name, `must be at most ${bytesMax} bytes`);
  }
  return text;
};

const readLink = (item: CborValue, path: string): RecordLink => {
  const map = exactMap(item, path, linkKeys);
  return { label: shortText(map, path, "label", labelBytesMax), target: hashField(map, path, "target") };
};

/** Checks every rule of a body except its payload's, on its CBOR form; used by encode and decode. */
const readBody = (value: CborValue): RecordBody => {
  const map = exactMap(anyMap(value, "body"), "", bodyKeys);
  const id = anyTextField(map, "", "id");
  const idFault = recordIdFault(id);
  if (idFault !== null) refuseField("id", "", idFault);
  const tenant = anyTextField(map, "", "tenant");
  const fault = tenantFault(tenant);
  if (fault !== null) refuseField("tenant", "", fault);
  const space = oneOfField(map, "", "space", spaces);
  if (space === "system" && tenant !== systemTenant) {
    refuseField("tenant", "", `must be ${systemTenant} in the system space`);
  }
  return {
    kind: shortText(map, "", "kind", kindBytesMax),
    schemaVersion: uintField(map, "", "schema_version", 1, schemaVersionMax),
    id,
    tenant,
    ts: uintField(map, "", "ts"),
    space,
    payload: map["payload"] ?? null,
    links: listField(map, "", "links", readLink, linksMax),
    prev: hashOrNullField(map, "", "prev"),
  };
};

/** @throws malformedRecord naming the field, unencodableValue for a payload without a canonical encoding. */
export const encodeBody = (body: RecordBody): Uint8Array => encodeDecision(body) ?? encodeAny(body);

/** The general way: the schema of the kind, then the encoder of any value. */
const encodeAny = (body: RecordBody): Uint8Array => {
  const links = body.links.map(({ label, target }) => ({ label, target }));
  const map: CborMap = {
    kind: body.kind,
    schema_version: body.schemaVersion,
    id: body.id,
    tenant: body.tenant,
    ts: body.ts,
    space: body.space,
    payload: body.payload,
    links,
    prev: body.prev,
  };
  readBody(map);
  checkPayload(body.kind, body.space, body.payload, body.schemaVersion);
  return encodeWith((writer) => {
    writer.beginMap(map, bodyKeys.length);
    writer.entry("id", body.id);
    writer.entry("ts", body.ts);
    writer.entry("kind", body.kind);
    writer.entry("prev", body.prev);
    writer.entry("links", links);
    writer.entry("space", body.space);
    writer.entry("tenant", body.tenant);
    writer.entry("payload", body.payload);
    writer.entry("schema_version", body.schemaVersion);
    writer.endMap();
  });
};

/** @throws malformedCbor with the offset, malformedRecord naming the field. */
export const decodeBody = (bytes: Uint8Array): RecordBody => {
  const body = readBody(cborDecode(bytes));
  checkPayload(body.kind, body.space, body.payload, body.schemaVersion);
  return body;
};

/** The record's hash: SHA-256 of the body, as used in links and `prev`. */
export const hashRecord = (bodyBytes: Uint8Array): Hash => sha256(bodyBytes);

/** The subject that a statement over this body must have. */
export const subjectOf = (body: Pick<RecordBody, "tenant" | "space" | "id">): string =>
  `${body.tenant}/${body.space}/${body.id}`;

/**
 * Parses a record's statement and body, and checks that header and body agree. Does not verify the signature.
 * @throws malformedCose, malformedCbor, malformedRecord.
 */
export const parseRecordStatement = (
  bytes: Uint8Array,
): { readonly statement: Statement; readonly body: RecordBody } => {
  const statement = parseStatement(bytes);
  if (statement.contentType !== recordContentType) {
    refuseField("statement.content_type", "", `must be ${recordContentType}`);
  }
  const body = decodeBody(statement.payload);
  if (statement.subject !== subjectOf(body)) {
    refuseField("statement.subject", "", "must be <tenant>/<space>/<id> of the body");
  }
  return { statement, body };
};

/** @throws unencodableValue if larger than a canonical value may be, malformedRecord past 64 attestations. */
export const encodeEnvelope = (envelope: Envelope): Uint8Array => {
  if (envelope.attestations.length > attestationsMax) {
    refuseField("attestations", "", `must have at most ${attestationsMax} items`);
  }
  return cborEncode([envelope.statement, envelope.attestations]);
};

/** Splits an envelope; does not parse its parts. @throws malformedCbor, malformedRecord. */
export const decodeEnvelope = (bytes: Uint8Array): Envelope => {
  const value = cborDecode(bytes);
  if (!Array.isArray(value) || value.length !== 2)
    return refuseField("envelope", "", "must be an array of two");
  const [statement, attestations] = value as readonly CborValue[];
  if (!(statement instanceof Uint8Array)) return refuseField("statement", "", "must be a byte string");
  const list = { attestations: attestations ?? null };
  return { statement, attestations: listField(list, "", "attestations", readAttestation, attestationsMax) };
};

const readAttestation = (item: CborValue, path: string): Uint8Array =>
  item instanceof Uint8Array ? item : refuseField(path, "", "must be a byte string");

/** The ledger entry of an envelope: SHA-256 of its bytes. */
export const entryOf = (envelopeBytes: Uint8Array): Hash => sha256(envelopeBytes);
