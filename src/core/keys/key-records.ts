/**
 * The key ring from ledger records: genesis names the first keys, a `signing_key` record announces a role's next key, a
 * `key_retirement` record limits up to which position an ended key is trusted. Pure. Source: docs/spec/keys.md. Shared
 * by the opening ledger, fsck, and clients that know only the genesis hash.
 */
import { toBase64Url, type Thumbprint } from "../bytes.ts";
import { coseKeyThumbprint, mldsa44KeyThumbprint } from "../cose/cose.ts";
import { fail } from "../errors.ts";
import { parseKeyRetirement, parseSigningKey, type GenesisPayload } from "../record/kinds.ts";
import type { RecordBody } from "../record/record.ts";
import { keyRetirementPrefix, signingKeyPrefix } from "../record/system.ts";
import { addKey, emptyRing, retireKey, type KeyRing, type KeyRole, type RoleKey } from "./ring.ts";

/** The name of a key: its COSE key thumbprint. */
const thumbprintOf = (key: RoleKey): Thumbprint =>
  key.role === "checkpoint_mldsa44" ? mldsa44KeyThumbprint(key.publicKey) : coseKeyThumbprint(key.publicKey);

const added = (key: RoleKey, validFrom: bigint) => ({ ...key, thumbprint: thumbprintOf(key), validFrom });

/** @param serial number of the key within its role; genesis names the first of roles `record` and `checkpoint`. */
export const signingKeyId = (role: KeyRole, serial: number): string => `${signingKeyPrefix}${role}/${serial}`;

export const keyRetirementId = (thumbprint: Thumbprint): string =>
  `${keyRetirementPrefix}${toBase64Url(thumbprint)}`;

/** The ring after the genesis record. */
export const ringOfGenesis = (payload: GenesisPayload): KeyRing => {
  const { record, checkpoint } = payload.keys;
  const first = addKey(emptyRing, added({ role: "record", publicKey: record }, 0n));
  return addKey(first, added({ role: "checkpoint", publicKey: checkpoint }, 0n));
};

/** Whether a record changes the ring for later records. */
export const isKeyRecord = ({ kind, space }: Pick<RecordBody, "kind" | "space">): boolean =>
  space === "system" && (kind === "signing_key" || kind === "key_retirement");

const nextSerial = (ring: KeyRing, role: KeyRole): number =>
  ring.entries.filter((entry) => entry.role === role).length + 1;

/** The id of the record that announces the role's next key. */
export const nextSigningKeyId = (ring: KeyRing, role: KeyRole): string =>
  signingKeyId(role, nextSerial(ring, role));

/**
 * The ring after a verified record at `position`; records of other kinds leave it unchanged.
 * @throws malformedRecord, malformedKey for an announcement or a retirement that breaks a rule.
 */
export const applyKeyRecord = (ring: KeyRing, position: bigint, body: RecordBody): KeyRing => {
  if (!isKeyRecord(body)) return ring;
  const refuse = (field: string, rule: string): never => fail({ kind: "malformedRecord", field, rule });
  if (body.kind === "signing_key") {
    const { validFrom, ...key } = parseSigningKey(body.payload, body.schemaVersion);
    const id = nextSigningKeyId(ring, key.role);
    if (body.id !== id) refuse("id", `must be ${id}, the role's next key`);
    if (body.prev !== null) refuse("prev", "must be null: a key is announced once");
    if (validFrom !== position + 1n) refuse("payload.valid_from", "must be the position after the record's");
    return addKey(ring, added(key, validFrom));
  }
  const retirement = parseKeyRetirement(body.payload, body.schemaVersion);
  const id = keyRetirementId(thumbprintOf(retirement));
  if (body.id !== id) refuse("id", `must be ${id}, after the key's thumbprint`);
  if (retirement.from > position) refuse("payload.from", "must not lie past the record's position");
  return retireKey(ring, retirement);
};
