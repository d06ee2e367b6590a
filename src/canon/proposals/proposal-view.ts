/** A proposal for readers: what it changes, who has signed, what is still needed. */
import type { Hash, PublicKey } from "@sigil/core/bytes";
import type { Proposal, ReceivedAttestation } from "../domain.ts";
import type { KeptProposal } from "./kept-proposal.ts";
import { stateOf } from "./kept-proposal.ts";
import { dueReasons } from "./steps.ts";
import { type Registry, dueEnding, tally } from "@sigil/core/quorum";

export type Seen = {
  readonly registry: Registry;
  readonly origin: string;
  readonly nowMs: number;
  readonly head: Hash | null;
  readonly proposerKeys: readonly PublicKey[];
  /** Position of the committed record. */
  readonly committedPosition: bigint | null;
};

export const viewProposal = (kept: KeptProposal, seen: Seen): Proposal => {
  const { payload, ending } = kept;
  const state = stateOf(kept, seen.registry);
  const due = dueEnding(state, seen);
  const { approvedBy, rejectedBy, needed, possession } = tally(state, seen.registry, seen.proposerKeys);
  const isOpen = state.status === "open" && due === null;
  const counting = new Set([...approvedBy, ...rejectedBy]);
  const attestations = kept.received.map((received): ReceivedAttestation => {
    const { witness, role, timeMs, statement, parsed } = received;
    const { epoch } = parsed.attestation;
    const isCurrent = epoch === seen.registry.epoch;
    const counts = isOpen && isCurrent && (role === "possession" || counting.has(witness));
    return { witness, role, epoch, timeMs, statement, counts };
  });
  return {
    id: kept.id,
    position: kept.position,
    outcome: due ?? state.status,
    endingReason: ending?.reason ?? (due === null ? "" : dueReasons[due]),
    body: kept.body,
    bodyBytes: payload.body,
    recordHash: kept.recordHash,
    with: payload.with,
    origin: seen.origin,
    epoch: seen.registry.epoch,
    base: payload.base,
    proposer: payload.proposer,
    reason: payload.reason,
    timeMs: kept.timeMs,
    expiresMs: payload.expiresMs,
    commit: payload.commit,
    attestations,
    approvedBy: isOpen ? approvedBy : [],
    rejectedBy: isOpen ? rejectedBy : [],
    approvalsNeeded: isOpen ? needed : 0,
    possessionNeeded: isOpen && possession === "missing",
    enrols: kept.enrols,
    committedPosition: seen.committedPosition,
  };
};
