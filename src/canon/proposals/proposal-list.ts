/** Pages of proposals: open ones first, then the ended ones, each newest first. */
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../../errors.ts";
import { pageEnvelopeBytesMax } from "../../limits.ts";
import type { Caller } from "../../identity/caller.ts";
import type { Proposal, ProposalPage, ProposalQuery } from "../domain.ts";
import { pageSizeOf, WalkTokens } from "../records/listing.ts";
import { proposalScope, stateOf, type KeptProposal } from "./kept-proposal.ts";
import { proposalPrefixes } from "../kinds.ts";
import type { Proposals } from "./proposals.ts";
import { isAwaited } from "@sigil/core/quorum";

/** Proposals read for one page, matching or not. */
const readMax = 2000;

const matches = (query: ProposalQuery, proposal: Proposal): boolean => {
  if (query.outcome !== undefined && proposal.outcome !== query.outcome) return false;
  if (query.recordId !== "" && proposal.body.id !== query.recordId) return false;
  return query.waitingForWitness === "" || proposal.outcome === "open";
};

const awaits = async (proposals: Proposals, kept: KeptProposal, witness: string): Promise<boolean> => {
  const { registry, proposerKeys } = await proposals.facts(kept, await proposals.state.now());
  return isAwaited(stateOf(kept, registry), registry, proposerKeys, witness);
};

/** Nothing is waiting for a name that is written wrong, and that must not look like a day off. @throws invalidField. */
const requireWitness = async (proposals: Proposals, witness: string): Promise<void> => {
  const { registry, open } = await proposals.state.now();
  const isProposed = [...open.values()].some(({ enrols }) => enrols?.witness === witness);
  if (registry.registry.witnesses.has(witness) || isProposed) return;
  const rule = "is no enrolled witness, and none that an open proposal would enrol";
  fail({ kind: "invalidField", field: "waiting_for_witness", rule });
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
  /** Bodies and statements so far; a reply has each body as bytes and as JSON. */
  #bytes = 0;
  /** Where the next page begins. */
  next: Omit<Place, "size"> | undefined;

  constructor(size: number) {
    this.#size = size;
  }

  /** Takes one more, unless the page is full without it. One always fits. */
  take(proposal: Proposal): boolean {
    if (this.isFull) return false;
    const parts = [
      proposal.bodyBytes,
      ...proposal.with,
      ...proposal.attestations.map((each) => each.statement),
    ];
    this.#bytes += parts.reduce((sum, { length }) => sum + length, 0);
    if (this.proposals.length > 0 && this.#bytes > pageEnvelopeBytesMax) return false;
    this.proposals.push(proposal);
    return true;
  }

  get isFull(): boolean {
    return this.proposals.length >= this.#size;
  }
}

/** @throws invalidPageToken, invalidField, recordCorrupt, cancelled. */
export const listProposals = async (
  proposals: Proposals,
  caller: Caller,
  query: ProposalQuery,
  signal: AbortSignal,
): Promise<ProposalPage> => {
  const { reader: ledger } = proposals.deps.ledger;
  const witness = query.waitingForWitness;
  if (witness !== "") await requireWitness(proposals, witness);
  const page = new Page(pageSizeOf(query.pageSize));
  const walk = ["proposals", query.outcome ?? null, witness, query.recordId];
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
      if (signal.aborted) fail({ kind: "cancelled" });
      read += 1;
      const kept = await proposals.find(id);
      if (kept.position < place.size) {
        const proposal = await proposals.view(kept);
        // One whose ending nobody has written yet has ended all the same. One that ends during the walk may be seen twice.
        const isHere = (phase === "open") === (proposal.outcome === "open");
        const isWanted =
          isHere && matches(query, proposal) && (witness === "" || (await awaits(proposals, kept, witness)));
        if (isWanted && !page.take(proposal)) {
          page.next = { phase, after };
          return;
        }
      }
      after = id;
    }
  };
  if (place.phase === "open") {
    const { open } = await proposals.state.now();
    const ids = [...open.keys()].filter((id) => place.after === "" || id < place.after);
    // By id, as the ended ones: a clock that was set back makes positions and ids disagree.
    await take("open", ids.sort().reverse());
  }
  const wantsEnded = witness === "" && query.outcome !== "open";
  if (page.next === undefined && wantsEnded) {
    await take("ended", allIds(proposals, place.phase === "ended" ? place.after : ""));
  }
  const { next } = page;
  const nextPageToken = next === undefined ? "" : await tokens.write([next.phase, place.size, next.after]);
  return { proposals: page.proposals, nextPageToken };
};

/** Ids of all proposals, newest first, those below `after`. */
async function* allIds(proposals: Proposals, after: string): AsyncGenerator<string, void, undefined> {
  const { reader: ledger } = proposals.deps.ledger;
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
