/** Pages of proposals: open ones first, then the ended ones, each newest first. */
import { proposalPrefix } from "@sigil/core/record";
import type { CborValue } from "@sigil/core/cbor";
import { fail, invalidField } from "../../errors.ts";
import type { Caller } from "../../identity/caller.ts";
import { PageRoom, pageSizeOf, takePage, type Walked } from "../../ledger/layout/paging.ts";
import type { Proposal, ProposalPage, ProposalQuery } from "../domain.ts";
import { tokensOf } from "../records/listing.ts";
import { proposalScope, stateOf, type KeptProposal } from "./kept-proposal.ts";
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

/** Refuses an unknown witness, so that a misspelt name does not look like an empty list. @throws invalidField. */
const requireWitness = async (proposals: Proposals, witness: string): Promise<void> => {
  const { registry, open } = await proposals.state.now();
  const isProposed = [...open.values()].some(({ enrols }) => enrols?.witness === witness);
  if (registry.registry.witnesses.has(witness) || isProposed) return;
  const rule = "must be an enrolled witness, or one that an open proposal would enrol";
  invalidField("waiting_for_witness", rule);
};

/** The phase of a walk, the ledger size it is pinned to, and the last id. */
type Place = { readonly phase: "open" | "ended"; readonly size: bigint; readonly after: string };

const readPlace = (place: readonly CborValue[] | undefined, size: bigint): Place =>
  place === undefined
    ? { phase: "open", size, after: "" }
    : {
        phase: place[0] as Place["phase"],
        size: BigInt(place[1] as number | bigint),
        after: place[2] as string,
      };

/** Reply size of a proposal: bodies, as bytes and as JSON, and statements. */
const bytesOf = ({ bodyBytes, with: others, attestations }: Proposal): number =>
  [bodyBytes, ...others, ...attestations.map(({ statement }) => statement)].reduce(
    (sum, { length }) => sum + length,
    0,
  );

/** Filter of a walk, and the ledger size it is pinned to. */
type Walk = {
  readonly query: ProposalQuery;
  readonly place: Place;
  readonly room: PageRoom<Proposal>;
  readonly signal: AbortSignal;
};

/** Yields the matches of one phase. @returns whether it paused before its end. */
async function* walkPhase(
  proposals: Proposals,
  phase: Place["phase"],
  ids: AsyncIterable<string> | Iterable<string>,
  { query, place, room, signal }: Walk,
): AsyncGenerator<Walked<Proposal>, boolean, undefined> {
  const { waitingForWitness: witness } = query;
  let after = place.phase === phase ? place.after : "";
  let read = 0;
  for await (const id of ids) {
    const at = [phase, place.size, after];
    if (room.left === 0 || read === readMax) {
      yield { kind: "pause", at };
      return true;
    }
    if (signal.aborted) fail({ kind: "cancelled" });
    read += 1;
    const kept = await proposals.find(id);
    if (kept.position < place.size) {
      const proposal = await proposals.view(kept);
      // A proposal may have ended before its ending is written. One that ends during the walk may be listed twice.
      const isHere = (phase === "open") === (proposal.outcome === "open");
      const isWanted =
        isHere && matches(query, proposal) && (witness === "" || (await awaits(proposals, kept, witness)));
      if (isWanted) yield { kind: "match", item: proposal, at };
    }
    after = id;
  }
  return false;
}

/** Walks open proposals, then ended ones. */
async function* walkProposals(
  proposals: Proposals,
  walk: Walk,
): AsyncGenerator<Walked<Proposal>, void, undefined> {
  const { query, place } = walk;
  if (place.phase === "open") {
    const { open } = await proposals.state.now();
    const ids = [...open.keys()].filter((id) => place.after === "" || id < place.after);
    // Sorted by id like the ended ones, since positions may differ from that order if a clock was set back.
    if (yield* walkPhase(proposals, "open", ids.sort().reverse(), walk)) return;
  }
  if (query.waitingForWitness !== "" || query.outcome === "open") return;
  yield* walkPhase(proposals, "ended", allIds(proposals, place.phase === "ended" ? place.after : ""), walk);
}

/** @throws invalidPageToken, invalidField, recordCorrupt, cancelled. */
export const listProposals = async (
  proposals: Proposals,
  caller: Caller,
  query: ProposalQuery,
  signal: AbortSignal,
): Promise<ProposalPage> => {
  const { reader } = proposals.deps.ledger;
  const witness = query.waitingForWitness;
  if (witness !== "") await requireWitness(proposals, witness);
  const room = new PageRoom(pageSizeOf(query.pageSize), bytesOf);
  const walk = ["proposals", query.outcome ?? null, witness, query.recordId];
  const tokens = tokensOf(reader, caller, proposalScope.tenant, walk);
  const place = readPlace(await tokens.read(query.pageToken), reader.size);
  const page = await takePage(walkProposals(proposals, { query, place, room, signal }), room);
  return { proposals: page.items, nextPageToken: await tokens.write(page.next) };
};

/** Ids of all proposals, newest first, those below `after`. */
async function* allIds(proposals: Proposals, after: string): AsyncGenerator<string, void, undefined> {
  const { reader: ledger } = proposals.deps.ledger;
  const { tenant, space } = proposalScope;
  const from = after === "" ? {} : { from: after };
  for await (const { position } of ledger.heads(tenant, space, proposalPrefix, {
    ...from,
    reverse: true,
  })) {
    const { id } = (await ledger.readAt(position)).body;
    if (id !== after) yield id;
  }
}
