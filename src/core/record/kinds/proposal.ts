/** Payloads of `proposal` and of its ending, `proposal_ending`. Pure. Source: docs/spec/record.md §6. */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyTextField,
  bytesField,
  exactMap,
  hashOrNullField,
  listField,
  oneOfField,
  refuseField,
  textField,
  uintField,
} from "../fields.ts";

export interface ProposalPayload {
  /** The exact body that would be committed, not decoded here. */
  readonly body: Uint8Array;
  /** Further bodies of the same commit, each of which `body` links to by its hash. */
  readonly with: readonly Uint8Array[];
  /** Hash of the version that it would replace. */
  readonly base: Hash | null;
  /** Version of the witness registry that votes on it. */
  readonly epoch: number;
  readonly expiresMs: number;
  /** Principal id. */
  readonly proposer: string;
  readonly reason: string;
  /** Whether the last approval commits, or a separate call. */
  readonly commit: ProposalCommit;
}

export const proposalCommits = ["auto", "separate"] as const;
export type ProposalCommit = (typeof proposalCommits)[number];

export const proposalOutcomes = ["committed", "rejected", "withdrawn", "expired", "superseded"] as const;
export type ProposalOutcome = (typeof proposalOutcomes)[number];

/** The record's links name the proposal's record by hash; this names it by id. */
export interface ProposalEndingPayload {
  readonly proposal: string;
  readonly outcome: ProposalOutcome;
  readonly reason: string;
}

const proposalKeys = ["body", "with", "base", "epoch", "expires_ts", "proposer", "reason", "commit"];
/** More than a registry change needs; each may be as large as a record. */
const withMax = 8;
const endingKeys = ["proposal", "outcome", "reason"];

const readBody = (item: CborValue, path: string): Uint8Array =>
  item instanceof Uint8Array && item.length > 0
    ? Uint8Array.from(item)
    : refuseField(path, "", "must be a non-empty byte string");

/** @throws malformedRecord naming the field. */
export const parseProposal = (payload: CborValue): ProposalPayload => {
  const path = "payload";
  const map = exactMap(payload, path, proposalKeys);
  const body = bytesField(map, path, "body");
  if (body.length === 0) refuseField(path, "body", "must not be empty");
  return {
    body: Uint8Array.from(body),
    with: listField(map, path, "with", readBody, withMax),
    base: hashOrNullField(map, path, "base"),
    epoch: uintField(map, path, "epoch"),
    expiresMs: uintField(map, path, "expires_ts"),
    proposer: textField(map, path, "proposer"),
    reason: anyTextField(map, path, "reason"),
    commit: oneOfField(map, path, "commit", proposalCommits),
  };
};

export const formatProposal = (proposal: ProposalPayload): CborMap => ({
  body: proposal.body,
  with: proposal.with,
  base: proposal.base,
  epoch: proposal.epoch,
  expires_ts: proposal.expiresMs,
  proposer: proposal.proposer,
  reason: proposal.reason,
  commit: proposal.commit,
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
