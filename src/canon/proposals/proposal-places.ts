/**
 * Quotas of open proposals: per proposer, per tenant, and in total with some reserved for Root of tenant "system", so
 * that principals that exhaust the others can still be revoked. Pure.
 */
import { fail, type QuotaReason } from "../../errors.ts";
import {
  openProposalsForRoot,
  openProposalsMax,
  openProposalsPerCallerMax,
  openProposalsPerTenantMax,
} from "../../limits.ts";
import { readsAcross, type Caller } from "../../identity/caller.ts";

export type Proposer = { readonly principal: string; readonly tenant: string };

const refuse = (reason: QuotaReason, limit: number, whose: string): never =>
  fail({
    kind: "overQuota",
    reason,
    limit,
    rule: `too many proposals ${whose} are open; have some attested or withdrawn, then propose again`,
  });

/** Checks that the caller may open another proposal. @param open the proposers of all open ones. @throws overQuota. */
export const requireProposalPlace = (caller: Caller, open: readonly Proposer[]): void => {
  const own = open.filter(({ principal }) => principal === caller.principal).length;
  if (own >= openProposalsPerCallerMax)
    refuse("PROPOSALS_PER_CALLER", openProposalsPerCallerMax, "of this caller");
  const isRoot = readsAcross(caller);
  const limit = isRoot ? openProposalsMax : openProposalsMax - openProposalsForRoot;
  if (open.length >= limit) refuse("PROPOSALS", limit, "of everybody");
  if (isRoot) return;
  const ofTenant = open.filter(({ tenant }) => tenant === caller.tenant).length;
  if (ofTenant >= openProposalsPerTenantMax)
    refuse("PROPOSALS_PER_TENANT", openProposalsPerTenantMax, "of this tenant");
};
