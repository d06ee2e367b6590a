/**
 * Rules on kinds and ids: which kinds a caller may write to the user space under which ids, and which system records a
 * quorum may change. Pure. Source: docs/spec/canon.md §2.
 */
import type { CborValue } from "@sigil/core/cbor";
import { fail, invalidField, SigilFault } from "../errors.ts";
import {
  knownKinds,
  parsePrincipal,
  principalVersion,
  type PrincipalPayload,
  enrolmentFault,
  principalPrefix,
  type LevelName,
  systemTenant,
  activeModelId,
  attestationPrefix,
  erasurePrefix,
  feedGrantPrefix,
  flipReportPrefix,
  modelPrefix,
  modulePrefix,
  proposalEndingPrefix,
  proposalPrefix,
  quorumId,
  schemaPrefix,
  suspensionPrefix,
  witnessPrefix,
} from "@sigil/core/record";

/** Kinds that exist only in the system space, written by a quorum. */
const governedKinds = ["trust_model", "witness", "quorum", "module", "schema", "erasure", "feed_grant"];

/** Levels a principal may have without a quorum. */
const freeLevels: readonly LevelName[] = ["guest", "observer"];

/** Id prefixes in the user space of tenant "system" reserved for proposals and their records. */
const keptPrefixes = [proposalPrefix, proposalEndingPrefix, attestationPrefix, flipReportPrefix];

/** @param path prefix of field names. @throws invalidField, quorumNeeded. */
export const checkUserKind = (kind: string, id: string, tenant: string, path: string): void => {
  const isKept = keptPrefixes.some((prefix) => id.startsWith(prefix));
  if (tenant === systemTenant && isKept) invalidField(`${path}id`, "is kept for proposals");
  if (id.startsWith(principalPrefix) !== (kind === "principal")) {
    invalidField(`${path}id`, `must begin with "${principalPrefix}" for kind principal, and for no other`);
  }
  if (kind === "principal" || !knownKinds.includes(kind)) return;
  if (governedKinds.includes(kind)) fail({ kind: "quorumNeeded", what: `a record of kind ${kind}` });
  invalidField(`${path}kind`, "is written by the server alone");
};

/** Parses with the common rules; errors name the field of this write. */
const parseOwn = (payload: CborValue, path: string): PrincipalPayload => {
  try {
    return parsePrincipal(payload, principalVersion(payload));
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "malformedRecord") throw error;
    return invalidField(path + error.error.field, error.error.rule);
  }
};

/** Checks a principal that a tenant enrols itself, and its id. @throws malformedRecord, invalidField, quorumNeeded. */
export const checkFreePrincipal = (
  { id, payload }: { readonly id: string; readonly payload: CborValue },
  {
    tenant,
    trustDomain,
    path,
  }: { readonly tenant: string; readonly trustDomain: string; readonly path: string },
): PrincipalPayload => {
  const principal = parseOwn(payload, path);
  const fault = enrolmentFault(id, principal, { place: `${tenant}/`, trustDomain });
  if (fault !== null) invalidField(path + fault.field, fault.rule);
  if (principal.tenant !== tenant)
    invalidField(`${path}payload.tenant`, `must be ${tenant}, the caller's own`);
  if (!freeLevels.includes(principal.loa)) {
    fail({ kind: "quorumNeeded", what: `a principal of level ${principal.loa}` });
  }
  return principal;
};

/** Kinds that a proposal may change, by id prefix; the rest of the id names the record. */
const proposable: ReadonlyMap<string, string> = new Map([
  ["trust_model", modelPrefix],
  ["principal", principalPrefix],
  ["schema", schemaPrefix],
  ["module", modulePrefix],
  ["erasure", erasurePrefix],
  ["suspension", suspensionPrefix],
  ["feed_grant", feedGrantPrefix],
]);

/** The kind of a system record, from its id. @throws invalidField naming the valid ids. */
export const proposableKind = (id: string): string => {
  for (const [kind, prefix] of proposable) {
    if (!id.startsWith(prefix) || id === prefix) continue;
    if (kind === "trust_model" && id !== activeModelId) break;
    return kind;
  }
  if (id === quorumId || id.startsWith(witnessPrefix)) {
    return invalidField("id", "changes by WitnessService.ProposeWitnessChange");
  }
  return invalidField(
    "id",
    `must be ${activeModelId}, principal/<id>, schema/<kind>, module/<name>, erasure/<tenant>, feed_grant/<principal>, or suspension/… to lift one`,
  );
};
