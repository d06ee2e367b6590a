/** Payloads of `proposal` and of its ending, `proposal_ending`. Pure. Source: docs/spec/record.md §6. */
import type { Hash } from "../bytes.ts";
import type { CborMap, CborValue } from "../cbor.ts";
import {
  anyTextField,
  bytesField,
  exactMap,
  hashOrNullField,
  oneOfField,
  refuseField,
  textField,
  uintField,
} from "../fields.ts";

export interface ProposalPayload {
  /** The exact body that would be committed. Whoever reads it decodes it: nesting is not followed here. */
  readonly body: Uint8Array;
  /** Hash of the version that it would replace. */
  readonly base: Hash | null;
  /** Version of the witness registry it is put to. */
  readonly epoch: number;
  readonly expiresMs: number;
  /** Principal id. */
  readonly proposer: string;
  readonly reason: string;
}

export const proposalOutcomes = ["committed", "rejected", "withdrawn", "expired", "superseded"] as const;
export type ProposalOutcome = (typeof proposalOutcomes)[number];

/** The record's links name the proposal's record by hash; this names it by id. */
export interface ProposalEndingPayload {
  readonly proposal: string;
  readonly outcome: ProposalOutcome;
  readonly reason: string;
}

const proposalKeys = ["body", "base", "epoch", "expires_ts", "proposer", "reason"];
const endingKeys = ["proposal", "outcome", "reason"];

/** @throws malformedRecord naming the field. */
export const parseProposal = (payload: CborValue): ProposalPayload => {
  const path = "payload";
  const map = exactMap(payload, path, proposalKeys);
  const body = bytesField(map, path, "body");
  if (body.length === 0) refuseField(path, "body", "must not be empty");
  return {
    body: Uint8Array.from(body),
    base: hashOrNullField(map, path, "base"),
    epoch: uintField(map, path, "epoch"),
    expiresMs: uintField(map, path, "expires_ts"),
    proposer: textField(map, path, "proposer"),
    reason: anyTextField(map, path, "reason"),
  };
};

export const formatProposal = (proposal: ProposalPayload): CborMap => ({
  body: proposal.body,
  base: proposal.base,
  epoch: proposal.epoch,
  expires_ts: proposal.expiresMs,
  proposer: proposal.proposer,
  reason: proposal.reason,
});

/** @throws malformedRecord naming the field. */
export const parseProposalEnding = (payload: CborValue): ProposalEndingPayload => {
  const path = "payload";
  const map = exactMap(payload, path, endingKeys);
  return {
    proposal: textField(map, path, "proposal"),
    outcome: oneOfField(map, path, "outcome", proposalOutcomes),
    reason: anyTextField(map, path, "reason"),
  };
};

export const formatProposalEnding = (ending: ProposalEndingPayload): CborMap => ({
  proposal: ending.proposal,
  outcome: ending.outcome,
  reason: ending.reason,
});
