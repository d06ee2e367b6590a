/**
 * Builds the record that enrols a principal with any id: if a record id cannot hold it, the record's id has its digest,
 * and the payload the id. Source: docs/spec/record.md §6.
 */
import { cborEncode } from "@sigil/core/cbor";
import {
  enrolPrincipal,
  principalRecordId as recordIdOf,
  type AttributeValue,
  levelNames,
  canonicalSubject,
} from "@sigil/core/record";
import { parsePublicKey } from "@sigil/core/bytes";
import { LevelOfAccess } from "@sigil/proto/sigil/type/v1/type";

export type PrincipalRecordOptions = {
  /** The principal's id; in a tenant's own space, without the tenant. */
  readonly id: string;
  /** Ed25519, 32 bytes each. */
  readonly publicKeys: readonly Uint8Array[];
  readonly level: LevelOfAccess;
  readonly tenant: string;
  /** False revokes; default true. */
  readonly active?: boolean;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Id of the principal responsible for this one. */
  readonly owner?: string;
};

/** Fields for `canon.proposeRecord`, or with `kind: "principal"` for `canon.writeRecord`. */
export type PrincipalRecord = {
  readonly id: string;
  readonly content: { readonly $case: "payloadCbor"; readonly value: Uint8Array };
};

const spelled = (id: string): string => {
  const spelling = canonicalSubject(id, "");
  if (spelling.kind === "refused") throw new TypeError(`id ${spelling.rule}`);
  return spelling.text;
};

/** The id of a principal's record, for reading or ending it. @throws TypeError if it is not a valid principal id. */
export const principalRecordId = (id: string): string => recordIdOf(spelled(id));

/** @throws TypeError for an invalid id, level or key. */
export const principalRecord = (options: PrincipalRecordOptions): PrincipalRecord => {
  const { id, publicKeys, level, tenant, active = true, attributes, owner } = options;
  const loa = levelNames[level - LevelOfAccess.LEVEL_OF_ACCESS_GUEST];
  if (loa === undefined) throw new TypeError("level must be a level of access");
  if (publicKeys.some(({ length }) => length !== 32))
    throw new TypeError("publicKeys must be of 32 bytes each");
  const enrolment = enrolPrincipal(spelled(id), {
    publicKeys: publicKeys.map(parsePublicKey),
    loa,
    tenant,
    active,
    ...(attributes === undefined ? {} : { attributes }),
    ...(owner === undefined ? {} : { owner }),
  });
  return { id: enrolment.id, content: { $case: "payloadCbor", value: cborEncode(enrolment.payload) } };
};
