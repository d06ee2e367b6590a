/**
 * Whether enough are left who may propose. With the last of them gone, no quorum could ever change anything again; and
 * where the only one left is who suspended another of them, nobody could propose to lift that. So one is left who did
 * not, or two. Principals that a tenant enrols by itself may not propose, so those of the system space are all there
 * are.
 */
import { principalPrefix, systemTenant } from "@sigil/core/record";
import { SigilFault } from "../errors.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { EnrolledPrincipal, Principals } from "./principals.ts";
import { canPropose, isSystemRoot, rankOf, stoppedBy, type StandingPrincipal } from "./suspension.ts";

export type ProposerSources = {
  readonly ledger: { readonly reader: Pick<LedgerReader, "heads" | "readAt" | "refuseErased"> };
  readonly principals: Pick<Principals, "inRecord">;
};

/** A change that may take away some who may propose. */
export type Lowering = {
  /** How a principal would stand after it; undefined when it would be nobody. */
  readonly after: (enrolled: EnrolledPrincipal) => StandingPrincipal | undefined;
  /** Whether one who may propose counts as somebody who is left. */
  readonly counts: (id: string, principal: StandingPrincipal) => boolean | Promise<boolean>;
};

/**
 * `lastRoot`: the last active Root of tenant system would go. `lastProposer`: too few would be left who may propose.
 */
export type LoweringFault = "lastRoot" | "lastProposer" | null;

/** Nothing is recorded for a tenant that was erased, and so nothing is proposed by its principals. */
const isErased = (reader: ProposerSources["ledger"]["reader"], tenant: string): boolean => {
  try {
    reader.refuseErased(tenant);
    return false;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "erased") return true;
    throw error;
  }
};

/** Governed principals, in the order of their ids, but those that are ended or of an erased tenant. */
async function* walkGoverned({
  ledger: { reader },
  principals,
}: ProposerSources): AsyncGenerator<EnrolledPrincipal, void, undefined> {
  for await (const { position } of reader.heads(systemTenant, "system", principalPrefix)) {
    const enrolled = await principals.inRecord(await reader.readAt(position, systemTenant));
    if (enrolled !== undefined && !isErased(reader, enrolled.principal.tenant)) yield enrolled;
  }
}

/** Looks at principals until it has seen enough. @throws recordCorrupt. */
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
