/**
 * The system's own records: the ids they stand under, which say their kind, and the bodies that the server makes of
 * them. Pure. Source: docs/spec/canon.md §2.
 */
import { systemTenant } from "./names.ts";
import type { RecordBody } from "./record.ts";

/** Records of the system space that there is one of. */
export const genesisId = "genesis";
export const quorumId = "quorum";
export const activeModelId = "trust_model/active";

/** Ids of the system space that quorums govern begin so. */
export const modelPrefix = "trust_model/";
export const witnessPrefix = "witness/";
export const schemaPrefix = "schema/";
export const modulePrefix = "module/";
/** Of the order to erase a tenant. */
export const erasurePrefix = "erasure/";

/** Of principals in the system space, and of those that a tenant enrols in its own user space. */
export const principalPrefix = "principal/";

/** Ids of what the deployment says of itself begin so. */
export const signingKeyPrefix = "signing_key/";
export const keyRetirementPrefix = "key_retirement/";
export const restorationPrefix = "restoration/";
/** Of the report that a tenant was erased. */
export const erasedPrefix = "erased/";
export const suspensionPrefix = "suspension/";
export const keySuspensionPrefix = "suspension/key/";

/** Ids in the user space of tenant "system" that proposals and what belongs to them are kept under. */
export const proposalPrefix = "proposal/";
export const proposalEndingPrefix = "proposal_ending/";
export const attestationPrefix = "attestation/";

/** Of a run of a module, in the user space of its caller's tenant. */
export const moduleRunPrefix = "module_run/";

/**
 * A record of tenant "system": of the system space, first version, without links or predecessor, unless it says
 * otherwise.
 */
export const systemBody = (
  body: Pick<RecordBody, "kind" | "id" | "ts" | "payload"> &
    Partial<Pick<RecordBody, "schemaVersion" | "space" | "links" | "prev">>,
): RecordBody => ({
  schemaVersion: 1,
  space: "system",
  links: [],
  prev: null,
  ...body,
  tenant: systemTenant,
});
