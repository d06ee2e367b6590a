/** Pages of proposals: open ones first, then the ended ones, each newest first. */
import type { CborValue } from "../record/cbor.ts";
import { pageEnvelopeBytesMax } from "../record/limits.ts";
import type { Caller } from "../identity/caller.ts";
import type { Proposal, ProposalPage, ProposalQuery } from "./domain.ts";
import { pageSizeOf, WalkTokens } from "./listing.ts";
import { proposalScope } from "./kept-proposal.ts";
import { proposalPrefixes } from "./kinds.ts";
import type { Proposals } from "./proposals.ts";

/** Proposals read for one page, matching or not. */
const readMax = 2000;

const hasAttested = ({ attestations, epoch }: Proposal, witness: string): boolean =>
  attestations.some(
    (given) => given.witness === witness && given.epoch === epoch && given.role !== "possession",
  );

const matches = (query: ProposalQuery, proposal: Proposal): boolean => {
  if (query.outcome !== undefined && proposal.outcome !== query.outcome) return false;
  if (query.recordId !== "" && proposal.body.id !== query.recordId) return false;
  const witness = query.waitingForWitness;
  return witness === "" || (proposal.outcome === "open" && !hasAttested(proposal, witness));
};

/** The phase of a walk, the ledger size it is pinned to, and the id it stands at. */
type Place = { readonly phase: "open" | "ended"; readonly size: bigint; readonly after: string };

const readPlace = (place: readonly CborValue[] | undefined, size: bigint): Place =>
  place === undefined
    ? { phase: "open", size, after: "" }
    : {
        phase: place[0] as Place["phase"],
        size: BigInt(place[1] as number | bigint),
        after: place[2] as string,
      };

class Page {
  readonly proposals: Proposal[] = [];
  readonly #size: number;
  /** Bodies so far; a reply has each as bytes and as JSON. */
  bytes = 0;
  /** Where the next page begins. */
  next: Omit<Place, "size"> | undefined;

  constructor(size: number) {
    this.#size = size;
  }

  add(proposal: Proposal): void {
    this.proposals.push(proposal);
    this.bytes += proposal.bodyBytes.length + proposal.with.reduce((sum, { length }) => sum + length, 0);
  }

  get isFull(): boolean {
    return this.proposals.length >= this.#size || this.bytes > pageEnvelopeBytesMax;
  }
}

/** @throws invalidPageToken, invalidField, recordCorrupt. */
export const listProposals = async (
  proposals: Proposals,
  caller: Caller,
  query: ProposalQuery,
): Promise<ProposalPage> => {
  const { ledger } = proposals.deps;
  const page = new Page(pageSizeOf(query.pageSize));
  const walk = ["proposals", query.outcome ?? null, query.waitingForWitness, query.recordId];
  const tokens = new WalkTokens(ledger, caller, proposalScope.tenant, walk);
  const place = readPlace(await tokens.read(query.pageToken), ledger.size);
  const take = async (
    phase: Place["phase"],
    ids: AsyncIterable<string> | Iterable<string>,
  ): Promise<void> => {
    let after = place.phase === phase ? place.after : "";
    let read = 0;
    for await (const id of ids) {
      if (page.isFull || read === readMax) {
        page.next = { phase, after };
        return;
      }
      read += 1;
      const kept = await proposals.find(id);
      if (kept.position < place.size) {
        const proposal = await proposals.view(kept);
        // One whose ending nobody has written yet has ended all the same. One that ends during the walk may be seen twice.
        const isHere = (phase === "open") === (proposal.outcome === "open");
        if (isHere && matches(query, proposal)) page.proposals.push(proposal);
      }
      after = id;
    }
  };
  if (place.phase === "open") {
    const ids = proposals.book.open
      .map(({ id }) => id)
      .filter((id) => place.after === "" || id < place.after);
    // By id, as the ended ones: a clock that was set back makes positions and ids disagree.
    await take("open", ids.sort().reverse());
  }
  const wantsEnded = query.waitingForWitness === "" && query.outcome !== "open";
  if (page.next === undefined && wantsEnded) {
    await take("ended", allIds(proposals, place.phase === "ended" ? place.after : ""));
  }
  const { next } = page;
  const nextPageToken = next === undefined ? "" : await tokens.write([next.phase, place.size, next.after]);
  return { proposals: page.proposals, nextPageToken };
};

/** Ids of all proposals, newest first, those below `after`. */
async function* allIds(proposals: Proposals, after: string): AsyncGenerator<string, void, undefined> {
  const { ledger } = proposals.deps;
  const { tenant, space } = proposalScope;
  const from = after === "" ? {} : { from: after };
  for await (const { position } of ledger.heads(tenant, space, proposalPrefixes.proposal, {
    ...from,
    reverse: true,
  })) {
    const { id } = (await ledger.readAt(position)).body;
    if (id !== after) yield id;
  }
}
