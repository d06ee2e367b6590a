/** Whether a system record carries the quorum it needed, as whoever reads or inspects the ledger asks. */
import { equalBytes } from "@sigil/core/bytes";
import { verifyForeign } from "@sigil/core/keys";
import { checkAttested, type Attested, type CommittedRecord } from "@sigil/core/quorum";
import type { KeptProposal } from "./kept-proposal.ts";

/** What the deployment says of itself, by its own key alone. */
const ownKinds: readonly string[] = ["signing_key", "key_retirement", "restoration", "erased", "suspension"];

/**
 * Whether a record needs no quorum: of such a kind, and under an id of that kind, so that it takes no governed one's
 * place.
 */
export const isOwn = ({ kind, id }: { readonly kind: string; readonly id: string }): boolean =>
  ownKinds.includes(kind) && id.startsWith(`${kind}/`);

/** What only the proposal knows: the hash of its body, its place, its proposer, and the key that it enrols. */
export type ProposalFacts = Pick<KeptProposal, "id" | "position" | "recordHash" | "enrols"> & {
  readonly payload: Pick<KeptProposal["payload"], "proposer">;
};

/** The registry is the one in force before the record was committed. */
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
