/**
 * The key ring out of the ledger's own records: genesis names the first keys, a `signing_key` record announces the next
 * one of a role, a `key_retirement` record says how long an ended one is believed. Pure. Source: docs/spec/keys.md.
 * The same rules for the ledger that opens, for the inspection, and for a stranger who knows the genesis hash alone.
 */
import {
  equalBytes,
  toBase64Url,
  toHex,
  type Hash,
  type PublicKey,
  type Signature,
  type Thumbprint,
} from "../bytes.ts";
import { coseKeyThumbprint, toBeSigned, type Statement } from "../cose/cose.ts";
import { fail, Fault } from "../errors.ts";
import { parseGenesis, parseKeyRetirement, parseSigningKey, type GenesisPayload } from "../record/kinds.ts";
import { decodeEnvelope, hashRecord, parseRecordStatement, type RecordBody } from "../record/record.ts";
import { addKey, emptyRing, findSigner, retireKey, type KeyRing, type KeyRole } from "./ring.ts";

/** Ids of the records that announce keys begin so, in the system space. */
export const signingKeyPrefix = "signing_key/";
/** Ids of the records that retire keys begin so, in the system space. */
export const keyRetirementPrefix = "key_retirement/";

/** @param serial which key of its role, 2 for the first successor. */
export const signingKeyId = (role: KeyRole, serial: number): string => `${signingKeyPrefix}${role}/${serial}`;

export const keyRetirementId = (thumbprint: Thumbprint): string =>
  `${keyRetirementPrefix}${toBase64Url(thumbprint)}`;

/** A record as the ledger holds it. */
export type KeyRecord = { readonly position: bigint; readonly envelope: Uint8Array };

export type VerifySignature = (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Signature,
) => Promise<boolean>;

/** The ring as the genesis record alone gives it. */
export const ringOfGenesis = (payload: GenesisPayload): KeyRing => {
  const { record, checkpoint } = payload.keys;
  const first = (role: KeyRole, publicKey: PublicKey) => ({
    role,
    publicKey,
    thumbprint: coseKeyThumbprint(publicKey),
    validFrom: 0n,
  });
  return addKey(addKey(emptyRing, first("record", record)), first("checkpoint", checkpoint));
};

/** Whether a record changes the ring of what comes after it. */
export const isKeyRecord = ({ kind, space }: Pick<RecordBody, "kind" | "space">): boolean =>
  space === "system" && (kind === "signing_key" || kind === "key_retirement");

const nextSerial = (ring: KeyRing, role: KeyRole): number =>
  ring.entries.filter((entry) => entry.role === role).length + 1;

/** The id of the record that announces the role's next key. */
export const nextSigningKeyId = (ring: KeyRing, role: KeyRole): string =>
  signingKeyId(role, nextSerial(ring, role));

/**
 * The ring after a record that stands at `position` and was verified there; any other record leaves it as it is.
 * @throws malformedRecord, malformedKey for an announcement or a retirement that breaks a rule.
 */
export const applyKeyRecord = (ring: KeyRing, position: bigint, body: RecordBody): KeyRing => {
  if (!isKeyRecord(body)) return ring;
  const refuse = (field: string, rule: string): never => fail({ kind: "malformedRecord", field, rule });
  if (body.kind === "signing_key") {
    const { role, publicKey, validFrom } = parseSigningKey(body.payload);
    const id = nextSigningKeyId(ring, role);
    if (body.id !== id) refuse("id", `must be ${id}, the role's next key`);
    if (body.prev !== null) refuse("prev", "must be null: a key is announced once");
    if (validFrom !== position + 1n) refuse("payload.valid_from", "must be the position after the record's");
    return addKey(ring, { role, publicKey, thumbprint: coseKeyThumbprint(publicKey), validFrom });
  }
  const retirement = parseKeyRetirement(body.payload);
  const id = keyRetirementId(coseKeyThumbprint(retirement.publicKey));
  if (body.id !== id) refuse("id", `must be ${id}, after the key's thumbprint`);
  if (retirement.from > position) refuse("payload.from", "must not lie past the record's position");
  return retireKey(ring, retirement);
};

/** @throws recordCorrupt unless a record key of the ring signed the statement at its position. */
const verifyInRing = async (
  ring: KeyRing,
  position: bigint,
  statement: Statement,
  verify: VerifySignature,
): Promise<void> => {
  const refuse = (step: string, rule: string): never => fail({ kind: "recordCorrupt", position, step, rule });
  const signer = findSigner(ring, "record", statement.kid, position);
  if (signer.kind === "refused") return refuse("key", signer.rule);
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  if (await verify(signer.entry.publicKey, message, statement.signature)) return;
  return refuse("signature", "the Ed25519 signature does not verify");
};

/** What breaks a rule inside a record is the record's fault, and says where it stands. */
const atPosition = <T>(position: bigint, work: () => T): T => {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof Fault) || cause.error.kind === "recordCorrupt") throw cause;
    return fail({ kind: "recordCorrupt", position, step: "schema", rule: cause.message }, { cause });
  }
};

/** What follows from the key records of a ledger. */
export type WalkedKeys = { readonly ring: KeyRing; readonly origin: string };

/**
 * The ring that follows from the genesis record's hash and nothing else: every record is verified with the ring that
 * the records before it gave.
 * @param records genesis first, then every announcement and retirement, in ledger order.
 * @throws recordCorrupt naming the position and the step.
 */
export const walkKeys = async (
  genesis: Hash,
  records: readonly KeyRecord[],
  { verify }: { readonly verify: VerifySignature },
): Promise<WalkedKeys> => {
  const refuse = (position: bigint, step: string, rule: string): never =>
    fail({ kind: "recordCorrupt", position, step, rule });
  const parse = ({ position, envelope }: KeyRecord) =>
    atPosition(position, () => parseRecordStatement(decodeEnvelope(envelope).statement));
  const [first, ...later] = records;
  if (first?.position !== 0n) return refuse(0n, "genesis", "the walk begins with the genesis record");
  const { statement: begin, body } = parse(first);
  if (!equalBytes(hashRecord(begin.payload), genesis)) {
    return refuse(0n, "genesis", `the genesis record is not the expected ${toHex(genesis)}`);
  }
  let ring = atPosition(0n, () => ringOfGenesis(parseGenesis(body.payload)));
  await verifyInRing(ring, 0n, begin, verify);
  let last = 0n;
  for (const record of later) {
    const { position } = record;
    if (position <= last) return refuse(position, "sequence", "the records are not in ledger order");
    last = position;
    const { statement, body: change } = parse(record);
    if (statement.origin !== begin.origin) refuse(position, "schema", "the statement names another origin");
    await verifyInRing(ring, position, statement, verify);
    if (!isKeyRecord(change)) refuse(position, "schema", `a ${change.kind} record says nothing about keys`);
    const before = ring;
    ring = atPosition(position, () => applyKeyRecord(before, position, change));
  }
  return { ring, origin: begin.origin };
};
