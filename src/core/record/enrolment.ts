/**
 * The record id of a principal: its id if a record id can hold it, else its digest, with the id in the payload. Pure.
 * Source: docs/spec/record.md §6, docs/spec/trust.md §10.
 */
import type { CborMap } from "../cbor/cbor.ts";
import { formatPrincipal, principalVersion, type PrincipalPayload } from "./kinds/governance.ts";
import { canonicalSubject, enrolledName } from "./spelling.ts";
import { callerHeadPrefix, feedGrantPrefix, principalPrefix } from "./system.ts";

/** The record id of the principal with this canonical id. */
export const principalRecordId = (id: string): string => principalPrefix + enrolledName(id);

/** The id of the record that would hold the feed grant of a principal of this canonical id. */
export const feedGrantId = (id: string): string => feedGrantPrefix + enrolledName(id);

/** The id under which the server records a caller's head in its tenant. */
export const callerHeadId = (caller: string): string => callerHeadPrefix + enrolledName(caller);

export type Enrolment = {
  /** The record's id. */
  readonly id: string;
  readonly schemaVersion: number;
  readonly payload: CborMap;
};

/** @param id canonical; in a tenant's own record, without the tenant. */
export const enrolPrincipal = (id: string, principal: Omit<PrincipalPayload, "id">): Enrolment => {
  const recordId = principalRecordId(id);
  const payload = formatPrincipal({ ...principal, ...(recordId === principalPrefix + id ? {} : { id }) });
  return { id: recordId, schemaVersion: principalVersion(payload), payload };
};

/** Whether a record with this id and payload is the record of principal `name`. */
export const isEnrolledAs = (
  name: string,
  recordId: string,
  principal: Pick<PrincipalPayload, "id">,
): boolean => (recordId === principalPrefix + name ? principal.id === undefined : principal.id === name);

const hashedName = /^~[0-9a-fA-F]{64}$/;

/**
 * Checks that a principal's record can be found by its principal id.
 * @param place `<tenant>/` in a tenant's own space, empty in the system space.
 * @returns the field, "id" or "payload.id", and the rule; null if there is no fault.
 */
export const enrolmentFault = (
  recordId: string,
  { id }: Pick<PrincipalPayload, "id">,
  { place, trustDomain }: { readonly place: string; readonly trustDomain: string },
): { readonly field: "id" | "payload.id"; readonly rule: string } | null => {
  const recordName = recordId.slice(principalPrefix.length);
  if (id === undefined && hashedName.test(recordName)) {
    return { field: "payload.id", rule: "must be given: the record's id holds its digest" };
  }
  const field = id === undefined ? "id" : "payload.id";
  const name = id ?? recordName;
  const spelling = canonicalSubject(place + name, trustDomain);
  if (spelling.kind === "refused") return { field, rule: spelling.rule };
  if (spelling.text !== place + name) {
    return { field, rule: `must be spelled ${JSON.stringify(spelling.text.slice(place.length))}` };
  }
  const belongs = principalRecordId(name);
  if (belongs !== recordId)
    return { field: "id", rule: `must be ${belongs}, where this principal is looked for` };
  return id !== undefined && belongs === principalPrefix + id
    ? { field: "payload.id", rule: "must be left out: the record's id holds it" }
    : null;
};
