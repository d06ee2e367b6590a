/** Whoever lowers somebody's authority, as it stands when that is written. */
import type { Caller } from "../caller.ts";
import { refuse } from "../claims.ts";
import { requireInForce } from "../in-force.ts";
import type { Principals } from "../principals.ts";
import { rankOf, type Rank } from "../suspension.ts";

/** @throws unauthenticated when the caller was stopped or changed since the call began. */
export const currentRank = async (
  principals: Pick<Principals, "find">,
  { principal: id, tenant, level, key }: Caller,
): Promise<Rank> => {
  const principal = await principals.find(id);
  if (principal === undefined || principal.tenant !== tenant || principal.loa !== level) {
    return refuse("PRINCIPAL_REVOKED", "the principal has changed since the call began");
  }
  requireInForce(principal, key);
  return rankOf(principal);
};
