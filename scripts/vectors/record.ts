/** Cases of record bodies, envelopes, attestations and record statements. */
import { parseHash, toHex, type Hash } from "@sigil/core/bytes";
import {
  encodeAttestation,
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  subjectOf,
  type RecordBody,
} from "@sigil/core/record";
import { cborEncode, type CborMap, type CborValue } from "@sigil/core/cbor";
import {
  attestationContentType,
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  recordContentType,
  toBeSigned,
  type ContentType,
} from "@sigil/core/cose";
import { toNotation } from "./notation.ts";
import { payloads } from "./payloads.ts";
import { refusedBodies } from "./refused-bodies.ts";
import { sampleKey } from "./sample-key.ts";

const signer = sampleKey("record");
const witness = sampleKey("witness");
const origin = "ledger.example/main";
const hashOf = (fill: number): Hash => parseHash(new Uint8Array(32).fill(fill));

const user: RecordBody = {
  kind: "note",
  schemaVersion: 1,
  id: "notes/1",
  tenant: "acme",
  ts: 1_700_000_000_000,
  space: "user",
  payload: { text: "hello" },
  links: [],
  prev: null,
};
const system: RecordBody = { ...user, tenant: "system", space: "system" };

const bodies: readonly (readonly [string, RecordBody])[] = [
  ["user data", user],
  ["user data named user_data, null payload", { ...user, kind: "user_data", payload: null }],
  ["user data of version 65535", { ...user, schemaVersion: 65_535 }],
  ["a second version", { ...user, prev: hashOf(1) }],
  [
    "two links",
    {
      ...user,
      links: [
        { label: "cites", target: hashOf(2) },
        { label: "größe", target: hashOf(3) },
      ],
    },
  ],
  ["id of one character", { ...user, id: "a" }],
  ["id of 255 bytes", { ...user, id: "x".repeat(255) }],
  ["id of every character allowed", { ...user, id: "AZaz09._~:/@-" }],
  ["id with dots inside its segments", { ...user, id: "a.b/..c/d..e/..." }],
  ["tenant of 63 bytes", { ...user, tenant: "t".repeat(63) }],
  ["user space of the tenant system", { ...user, tenant: "system" }],
  ["the first millisecond", { ...user, ts: 0 }],
  ["the last millisecond", { ...user, ts: Number.MAX_SAFE_INTEGER }],
  ...payloads.map(([name, kind, payload, schemaVersion = 1]): readonly [string, RecordBody] => [
    name,
    { ...(kind === "frozen_chain" ? user : system), kind, schemaVersion, payload },
  ]),
];

const statementOver = (
  body: Uint8Array,
  subject: string,
  contentType: ContentType,
  key = signer,
): Uint8Array => {
  const protectedBytes = encodeProtected({
    contentType,
    kid: coseKeyThumbprint(key.publicKey),
    origin,
    subject,
  });
  return encodeStatement({
    protectedBytes,
    payload: body,
    signature: key.sign(toBeSigned(protectedBytes, body)),
  });
};
const bodyBytes = encodeBody(user);
const statement = statementOver(bodyBytes, subjectOf(user), recordContentType);

const approval = encodeAttestation({
  proposal: "proposals/7",
  record: hashRecord(bodyBytes),
  epoch: 1,
  verdict: "approve",
});
const attestations: readonly (readonly [string, Uint8Array])[] = [
  ["an approval", approval],
  ["a rejection", encodeAttestation({ proposal: "p", record: hashOf(9), epoch: 0, verdict: "reject" })],
];
const attested = statementOver(approval, "proposals/7", attestationContentType, witness);

const envelopes: readonly (readonly [string, readonly Uint8Array[]])[] = [
  ["no attestation", []],
  ["one attestation", [attested]],
  ["64 attestations", Array.from({ length: 64 }, () => attested)],
];

type Refused = readonly [name: string, format: string, bytes: Uint8Array, field: string, rule: string];

const goodAttestation: CborMap = { proposal: "p", record: hashOf(9), epoch: 0, verdict: "reject" };
const badAttestation = (name: string, change: CborMap, field: string, rule: string): Refused => [
  name,
  "attestation",
  cborEncode({ ...goodAttestation, ...change }),
  field,
  rule,
];
const badEnvelope = (name: string, value: CborValue, field: string, rule: string): Refused => [
  name,
  "envelope",
  cborEncode(value),
  field,
  rule,
];

const refusedOthers: readonly Refused[] = [
  badAttestation(
    "attestation of an empty proposal",
    { proposal: "" },
    "attestation.proposal",
    "must not be empty",
  ),
  badAttestation(
    "attestation of an id with two slashes",
    { proposal: "a//b" },
    "attestation.proposal",
    'must have no "//" and no "." or ".." segment',
  ),
  badAttestation(
    "attestation of a short hash",
    { record: new Uint8Array(31) },
    "attestation.record",
    "must be 32 bytes",
  ),
  badAttestation(
    "attestation of a negative epoch",
    { epoch: -1 },
    "attestation.epoch",
    "must be an integer from 0 to 9007199254740991",
  ),
  badAttestation(
    "attestation that abstains",
    { verdict: "abstain" },
    "attestation.verdict",
    "must be one of approve, reject",
  ),
  badAttestation(
    "attestation with a remark",
    { remark: "" },
    "attestation.remark",
    "is not a field of this kind",
  ),
  badEnvelope("envelope as a map", {}, "envelope", "must be an array of two"),
  badEnvelope("envelope of one", [statement], "envelope", "must be an array of two"),
  badEnvelope("envelope of three", [statement, [], null], "envelope", "must be an array of two"),
  badEnvelope("envelope whose statement is text", ["s", []], "statement", "must be a byte string"),
  badEnvelope("envelope whose attestations are null", [statement, null], "attestations", "must be a list"),
  badEnvelope(
    "envelope with a text attestation",
    [statement, ["a"]],
    "attestations[0]",
    "must be a byte string",
  ),
  badEnvelope(
    "envelope of 65 attestations",
    [statement, Array.from({ length: 65 }, () => new Uint8Array(0))],
    "attestations",
    "must have at most 64 items",
  ),
  [
    "statement whose subject is another record",
    "record_statement",
    statementOver(bodyBytes, "acme/user/notes/2", recordContentType),
    "statement.subject",
    "must be <tenant>/<space>/<id> of the body",
  ],
  [
    "record under the content type of an attestation",
    "record_statement",
    statementOver(bodyBytes, subjectOf(user), attestationContentType),
    "statement.content_type",
    `must be ${recordContentType}`,
  ],
];

export const recordVectors = (): unknown => ({
  accept: [
    ...bodies.map(([name, body]) => {
      const bytes = encodeBody(body);
      const hash = toHex(hashRecord(bytes));
      const { kind, schemaVersion, ts, payload } = body;
      return {
        name,
        format: "body",
        hex: toHex(bytes),
        hash,
        subject: subjectOf(body),
        kind,
        schema_version: schemaVersion,
        ts,
        payload: toNotation(payload),
      };
    }),
    ...attestations.map(([name, bytes]) => ({ name, format: "attestation", hex: toHex(bytes) })),
    { name: "statement over user data", format: "record_statement", hex: toHex(statement) },
    ...envelopes.map(([name, list]) => {
      const bytes = encodeEnvelope({ statement, attestations: list });
      return {
        name: `envelope with ${name}`,
        format: "envelope",
        hex: toHex(bytes),
        entry: toHex(entryOf(bytes)),
      };
    }),
  ],
  refuse: [...refusedBodies, ...refusedOthers].map(([name, format, bytes, field, rule]) => ({
    name,
    format,
    hex: toHex(bytes),
    field,
    rule,
  })),
});
