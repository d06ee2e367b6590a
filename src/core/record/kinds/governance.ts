/**
 * Payloads of `principal`, `witness`, `quorum` and `signing_key`: who may act, attest and sign. Pure. Source:
 * docs/spec/record.md §6. Whether a key is a valid point is checked at enrolment, not here.
 */
import { toHex, utf8Encode, type Mldsa44PublicKey, type PublicKey } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyMap,
  anyTextField,
  booleanField,
  distinct,
  exactMap,
  listField,
  mapOf,
  mldsa44PublicKeyField,
  oneOfField,
  publicKeyField,
  publicKeyItem,
  refuseField,
  tableField,
  textItem,
  uint64Field,
  uintField,
} from "../fields.ts";
import { attestationsMax, attributeBytesMax, attributeNameBytesMax, attributesMax } from "../../limits.ts";
import { levelNames, tenantFault, type LevelName } from "../names.ts";
import { canonicalSubject } from "../spelling.ts";

export interface PrincipalPayload {
  readonly publicKeys: readonly PublicKey[];
  readonly loa: LevelName;
  readonly tenant: string;
  /** False once revoked. */
  readonly active: boolean;
  /** The id (in a tenant's own record, the part after the tenant), if the record's id cannot hold it. */
  readonly id?: string;
  /** Further attributes of the principal. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Id of the principal responsible for this one. */
  readonly owner?: string;
}

export type AttributeValue = string | number | boolean | readonly string[];

export interface WitnessPayload {
  readonly publicKey: PublicKey;
  readonly owner: string;
  readonly authority: string;
  readonly description: string;
}

export interface QuorumPayload {
  /** 1 ≤ k ≤ the number of witnesses. */
  readonly k: number;
  readonly witnesses: readonly string[];
  /** Version of the witness registry. */
  readonly epoch: number;
  /** Whether a witness may attest its own proposal. Written only if true. */
  readonly proposerMayAttest: boolean;
}

const ed25519Roles = ["record", "checkpoint"] as const;
const mldsa44Roles = ["checkpoint_mldsa44"] as const;
/** What a deployment's keys sign, and the algorithm that it takes. */
export const keyRoles = [...ed25519Roles, ...mldsa44Roles] as const;
export type KeyRole = (typeof keyRoles)[number];
export type Ed25519Role = (typeof ed25519Roles)[number];

/** A key with the role that it serves. */
export type RoleKey =
  | { readonly role: "record"; readonly publicKey: PublicKey }
  | { readonly role: "checkpoint"; readonly publicKey: PublicKey }
  | { readonly role: "checkpoint_mldsa44"; readonly publicKey: Mldsa44PublicKey };

export type SigningKeyPayload = RoleKey & {
  /** First ledger position that the key may sign. */
  readonly validFrom: bigint;
};

export const principalKeys = ["public_keys", "loa", "tenant", "active"];
/** Keys of schema version 2; each is absent if unused. */
const principalOptionalKeys = ["id", "attributes", "owner"];
export const witnessKeys = ["public_key", "owner", "authority", "description"];
const quorumKeys = ["k", "witnesses", "epoch"];
const proposerMayAttestKey = "proposer_may_attest";
const mldsa44 = "ML-DSA-44";

export const readPrincipal = (map: CborMap, path: string): PrincipalPayload => {
  const publicKeys = listField(map, path, "public_keys", publicKeyItem);
  distinct(publicKeys.map(toHex), `${path}.public_keys`, "must be distinct");
  const tenant = anyTextField(map, path, "tenant");
  const fault = tenantFault(tenant);
  if (fault !== null) refuseField(path, "tenant", fault);
  return {
    publicKeys,
    loa: oneOfField(map, path, "loa", levelNames),
    tenant,
    active: booleanField(map, path, "active"),
  };
};

/** A name in canonical form; enrolment also removes the deployment's own trust domain. */
const nameField = (map: CborMap, path: string, name: string): string => {
  const text = anyTextField(map, path, name);
  const spelling = canonicalSubject(text, "");
  if (spelling.kind === "refused") return refuseField(path, name, spelling.rule);
  return spelling.text === text ? text : refuseField(path, name, `must be spelled ${spelling.text}`);
};

const attributeTextItem = (item: CborValue, path: string): string => {
  const text = textItem(item, path);
  return utf8Encode(text).length <= attributeBytesMax
    ? text
    : refuseField(path, "", `must be at most ${attributeBytesMax} bytes`);
};

const readAttribute = (table: CborMap, path: string, name: string): AttributeValue => {
  if (name === "" || utf8Encode(name).length > attributeNameBytesMax) {
    refuseField(path, name, `must have a name of 1 to ${attributeNameBytesMax} bytes`);
  }
  const value = table[name];
  if (typeof value === "boolean" || typeof value === "number") return value;
  if (typeof value === "string") return attributeTextItem(value, `${path}.${name}`);
  if (!Array.isArray(value))
    return refuseField(path, name, "must be text, a number, true, false or a list of texts");
  const items = listField(table, path, name, attributeTextItem, attributesMax);
  distinct(items, `${path}.${name}`, "must be distinct");
  return items;
};

const readAttributes = (map: CborMap, path: string): Readonly<Record<string, AttributeValue>> => {
  const attributes = tableField(map, path, "attributes", readAttribute);
  const count = Object.keys(attributes).length;
  return count >= 1 && count <= attributesMax
    ? attributes
    : refuseField(path, "attributes", `must have 1 to ${attributesMax} entries, or be left out`);
};

/** @throws malformedRecord naming the field. */
export const parsePrincipal = (payload: CborValue, schemaVersion = 1): PrincipalPayload => {
  const path = "payload";
  if (schemaVersion === 1) return readPrincipal(exactMap(payload, path, principalKeys), path);
  const map = mapOf(payload, path, principalKeys, principalOptionalKeys);
  const principal = readPrincipal(map, path);
  return {
    ...principal,
    ...(map["id"] === undefined ? {} : { id: nameField(map, path, "id") }),
    ...(map["attributes"] === undefined ? {} : { attributes: readAttributes(map, path) }),
    ...(map["owner"] === undefined ? {} : { owner: nameField(map, path, "owner") }),
  };
};

/** The schema version that a principal's payload needs: 2 if it has fields unknown to 1. */
export const principalVersion = (payload: CborValue): 1 | 2 => {
  const isMap = typeof payload === "object" && payload !== null && !Array.isArray(payload);
  const map = isMap && !(payload instanceof Uint8Array) ? (payload as CborMap) : {};
  return principalOptionalKeys.some((key) => map[key] !== undefined) ? 2 : 1;
};

export const formatPrincipal = (principal: PrincipalPayload): CborMap => ({
  public_keys: principal.publicKeys,
  loa: principal.loa,
  tenant: principal.tenant,
  active: principal.active,
  ...(principal.id === undefined ? {} : { id: principal.id }),
  ...(principal.attributes === undefined ? {} : { attributes: principal.attributes }),
  ...(principal.owner === undefined ? {} : { owner: principal.owner }),
});

export const readWitness = (map: CborMap, path: string): WitnessPayload => ({
  publicKey: publicKeyField(map, path, "public_key"),
  owner: anyTextField(map, path, "owner"),
  authority: anyTextField(map, path, "authority"),
  description: anyTextField(map, path, "description"),
});

/** @throws malformedRecord naming the field. */
export const parseWitness = (payload: CborValue): WitnessPayload =>
  readWitness(exactMap(payload, "payload", witnessKeys), "payload");

export const formatWitness = (witness: WitnessPayload): CborMap => ({
  public_key: witness.publicKey,
  owner: witness.owner,
  authority: witness.authority,
  description: witness.description,
});

/** Owners are compared without case and surrounding spaces. */
export const ownerName = (owner: string): string => owner.trim().toLowerCase();

/** Reads k: at least 1 and at most the number of witnesses. */
export const readK = (map: CborMap, path: string, witnesses: number): number => {
  const k = uintField(map, path, "k", 1);
  return k <= witnesses ? k : refuseField(path, "k", `must not exceed the ${witnesses} witnesses`);
};

/** @throws malformedRecord naming the field. */
export const parseQuorum = (payload: CborValue): QuorumPayload => {
  const path = "payload";
  const given = anyMap(payload, path);
  const proposerMayAttest = given[proposerMayAttestKey] !== undefined;
  const map = exactMap(payload, path, proposerMayAttest ? [...quorumKeys, proposerMayAttestKey] : quorumKeys);
  // One encoding per value: false is written as an absent key.
  if (proposerMayAttest && map[proposerMayAttestKey] !== true) {
    refuseField(path, proposerMayAttestKey, "must be true or left out");
  }
  const witnesses = listField(map, path, "witnesses", textItem, attestationsMax);
  distinct(witnesses, "payload.witnesses", "must be distinct");
  const k = readK(map, path, witnesses.length);
  return { k, witnesses, epoch: uintField(map, path, "epoch"), proposerMayAttest };
};

export const formatQuorum = (quorum: QuorumPayload): CborMap => ({
  k: quorum.k,
  witnesses: quorum.witnesses,
  epoch: quorum.epoch,
  ...(quorum.proposerMayAttest ? { [proposerMayAttestKey]: true } : {}),
});

/** The schema version of a record that names a key: version 1 has no algorithm, and means Ed25519. */
export const roleKeyVersion = ({ role }: Pick<RoleKey, "role">): 1 | 2 =>
  role === "checkpoint_mldsa44" ? 2 : 1;

/** A role with its key, and one more number. Each key has one encoding: version 2 is for what 1 cannot say. */
export const readRoleKey = (
  payload: CborValue,
  numberKey: string,
  schemaVersion: number,
): RoleKey & { readonly map: CborMap } => {
  const path = "payload";
  const algorithm = schemaVersion === 1 ? [] : ["algorithm"];
  const map = exactMap(payload, path, ["role", ...algorithm, "public_key", numberKey]);
  if (schemaVersion === 1) {
    const role = oneOfField(map, path, "role", ed25519Roles);
    return { role, publicKey: publicKeyField(map, path, "public_key"), map };
  }
  const role = oneOfField(map, path, "role", mldsa44Roles);
  oneOfField(map, path, "algorithm", [mldsa44]);
  return { role, publicKey: mldsa44PublicKeyField(map, path, "public_key"), map };
};

export const formatRoleKey = (key: RoleKey): CborMap => ({
  role: key.role,
  ...(roleKeyVersion(key) === 1 ? {} : { algorithm: mldsa44 }),
  public_key: key.publicKey,
});

/** @throws malformedRecord naming the field. */
export const parseSigningKey = (payload: CborValue, schemaVersion = 1): SigningKeyPayload => {
  const { map, ...key } = readRoleKey(payload, "valid_from", schemaVersion);
  return { ...key, validFrom: uint64Field(map, "payload", "valid_from") };
};

export const formatSigningKey = (key: SigningKeyPayload): CborMap => ({
  ...formatRoleKey(key),
  valid_from: key.validFrom,
});
