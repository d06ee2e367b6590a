/**
 * System records: their ids, which imply their kinds, and the bodies that the server builds. Pure. Source:
 * docs/spec/canon.md §2.
 */
import { systemTenant } from "./names.ts";
import type { RecordBody } from "./record.ts";

/** Ids of singleton records of the system space. */
export const genesisId = "genesis";
export const quorumId = "quorum";
export const activeModelId = "trust_model/active";

/** Prefixes of ids of the system space that quorums govern. */
export const modelPrefix = "trust_model/";
export const witnessPrefix = "witness/";
export const schemaPrefix = "schema/";
export const modulePrefix = "module/";
/** Prefix of orders to erase a tenant. */
export const erasurePrefix = "erasure/";

/** Prefix of principals, both in the system space and in a tenant's own user space. */
export const principalPrefix = "principal/";

/** Prefixes of ids of the deployment's own records. */
export const signingKeyPrefix = "signing_key/";
export const keyRetirementPrefix = "key_retirement/";
export const restorationPrefix = "restoration/";
/** Prefix of reports that a tenant was erased. */
export const erasedPrefix = "erased/";
export const suspensionPrefix = "suspension/";
export const keySuspensionPrefix = "suspension/key/";
/** Of what a principal may read of the feed, given by a quorum and withdrawn by Root. */
export const feedGrantPrefix = "feed_grant/";

/** Prefixes of proposals and their records, in the user space of tenant "system". */
export const proposalPrefix = "proposal/";
export const proposalEndingPrefix = "proposal_ending/";
export const attestationPrefix = "attestation/";
export const flipReportPrefix = "flip_report/";

/** Prefix of module runs, in the user space of the caller's tenant. */
export const moduleRunPrefix = "module_run/";

/** Prefix of what the server records of a caller's numbers, in the user space of the caller's tenant. */
export const callerHeadPrefix = "caller_head/";

/** A record body of tenant "system"; by default in the system space, first version, without links or predecessor. */
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
