/** Whether a system record carries the required quorum; used by reads and by fsck. */
import { equalBytes } from "@sigil/core/bytes";
import { feedGrantPrefix } from "@sigil/core/record";
import { verifyForeign } from "@sigil/core/keys";
import { checkAttested, type Attested, type CommittedRecord } from "@sigil/core/quorum";
import type { KeptProposal } from "./kept-proposal.ts";

/** Kinds that the deployment writes with its own key alone. */
const ownKinds: readonly string[] = ["signing_key", "key_retirement", "restoration", "erased", "suspension"];

/**
 * Whether a record needs no quorum: it has such a kind and an id of that kind, so that it cannot replace a governed
 * one.
 */
export const isOwn = ({ kind, id }: { readonly kind: string; readonly id: string }): boolean => {
  // Root alone withdraws a feed grant: lowering takes one.
  if (kind === "tombstone" && id.startsWith(feedGrantPrefix)) return true;
  return ownKinds.includes(kind) && id.startsWith(`${kind}/`);
};

/** Facts from the proposal's record: hash of its body, position, proposer, and the key that it enrols. */
export type ProposalFacts = Pick<KeptProposal, "id" | "position" | "recordHash" | "enrols"> & {
  readonly payload: Pick<KeptProposal["payload"], "proposer">;
};

/** @param registry in force before the record was committed. */
export const judgeQuorum = async (
  committed: Omit<CommittedRecord, "proposal" | "enrols">,
  findProposal: (id: string) => Promise<ProposalFacts | undefined>,
): Promise<Attested> => {
  const first = await checkAttested(committed, verifyForeign);
  if (first.proposal === null) return first;
  const proposal = await findProposal(first.proposal);
  if (proposal === undefined || !equalBytes(proposal.recordHash, committed.record)) {
    return { ...first, reached: false };
  }
  const { id, position, enrols, payload } = proposal;
  const known = { ...committed, proposal: { id, position, proposer: payload.proposer }, enrols };
  return checkAttested(known, verifyForeign);
};
