/**
 * Whether enough eligible proposers remain. Without any, no quorum could ever change anything again; and if the only
 * one left is the author of a suspension, nobody else could propose to lift it. So a proposer other than the author
 * must remain, or two. Principals enrolled by tenants may not propose, so only those of the system space are examined.
 */
import { principalPrefix, systemTenant } from "@sigil/core/record";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { EnrolledPrincipal, Principals } from "./principals.ts";
import { canPropose, isSystemRoot, rankOf, stoppedBy, type StandingPrincipal } from "./suspension.ts";

export type ProposerSources = {
  readonly ledger: { readonly reader: Pick<LedgerReader, "heads" | "readAt" | "isErased"> };
  readonly principals: Pick<Principals, "inRecord">;
};

/** A change that may remove eligible proposers. */
export type Lowering = {
  /** A principal's state after the change; undefined if it would not exist. */
  readonly after: (enrolled: EnrolledPrincipal) => StandingPrincipal | undefined;
  /** Whether an eligible proposer counts as remaining. */
  readonly counts: (id: string, principal: StandingPrincipal) => boolean | Promise<boolean>;
};

/**
 * `lastRoot`: no active Root of tenant system would remain. `lastProposer`: too few eligible proposers would remain.
 */
export type LoweringFault = "lastRoot" | "lastProposer" | null;

/** Governed principals by id, without ended ones and those of erased tenants, for which nothing can be recorded. */
async function* walkGoverned({
  ledger: { reader },
  principals,
}: ProposerSources): AsyncGenerator<EnrolledPrincipal, void, undefined> {
  for await (const { position } of reader.heads(systemTenant, "system", principalPrefix)) {
    const enrolled = await principals.inRecord(await reader.readAt(position, systemTenant));
    if (enrolled !== undefined && !reader.isErased(enrolled.principal.tenant)) yield enrolled;
  }
}

/** Walks principals until the answer is known. @throws recordCorrupt. */
export const loweringFault = async (
  sources: ProposerSources,
  { after, counts }: Lowering,
): Promise<LoweringFault> => {
  let [takes, takesRoot, leavesRoot] = [false, false, false];
  const left = new Set<string>();
  const authors = new Set<string>();
  for await (const enrolled of walkGoverned(sources)) {
    const { id, principal } = enrolled;
    const isRoot = isSystemRoot(rankOf(principal));
    const then = after(enrolled);
    if (then !== undefined && canPropose(then)) {
      if (!(await counts(id, then))) continue;
      left.add(id);
      leavesRoot ||= isRoot;
    } else if (canPropose(principal)) {
      takes = true;
      takesRoot ||= isRoot;
    }
    if (then !== undefined) for (const by of stoppedBy(then)) authors.add(by);
    if (left.size >= 2 && leavesRoot) return null;
  }
  const isEnough = left.size >= 2 || [...left].some((id) => !authors.has(id));
  if (takes && !isEnough) return "lastProposer";
  return takesRoot && !leavesRoot ? "lastRoot" : null;
};
