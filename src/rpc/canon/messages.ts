/** Proposals, the witness registry and what comes of them as protobuf. */
import {
  AttestationRole,
  ProposalState,
  type Attestation as AttestationMessage,
  type BatchWriteRecordsResponse,
  type GetSystemRecordResponse,
  type Proposal as ProposalMessage,
  type WatchResponse,
  type WriteRecordResponse,
} from "@sigil/proto/sigil/canon/v1/canon";
import type { Quorum, Witness } from "@sigil/proto/sigil/canon/v1/witness";
import type {
  Presentation,
  Proposal,
  ReceivedAttestation,
  SystemRecord,
  WatchEvent,
  Written,
} from "../../canon/domain.ts";
import type { EnrolledWitness, Registry } from "@sigil/core/quorum";
import type { AttestationRole as RoleName } from "@sigil/core/record";
import { replyJsonCharactersMax } from "../../limits.ts";
import { jsonOf } from "../message/json.ts";
import { formatRecord, formatVersioned } from "./records.ts";
import { formatTime } from "../message/vocabulary.ts";

const STATES = {
  open: ProposalState.PROPOSAL_STATE_OPEN,
  committed: ProposalState.PROPOSAL_STATE_COMMITTED,
  rejected: ProposalState.PROPOSAL_STATE_REJECTED,
  withdrawn: ProposalState.PROPOSAL_STATE_WITHDRAWN,
  expired: ProposalState.PROPOSAL_STATE_EXPIRED,
  superseded: ProposalState.PROPOSAL_STATE_SUPERSEDED,
} satisfies Record<Proposal["outcome"], ProposalState>;

const ROLES = {
  approve: AttestationRole.ATTESTATION_ROLE_APPROVE,
  reject: AttestationRole.ATTESTATION_ROLE_REJECT,
  possession: AttestationRole.ATTESTATION_ROLE_POSSESSION,
} satisfies Record<RoleName, AttestationRole>;

const nothing = new Uint8Array(0);

export const formatWritten = (
  { record, version, auditId, replayed }: Written,
  jsonCharactersMax?: number,
): WriteRecordResponse => ({
  record: formatRecord(record, jsonCharactersMax),
  version,
  ledgerPosition: record.position,
  auditId,
  replayed,
  proof: undefined,
});

/** Views past what one reply may hold are left empty: the batch is committed, and its answer must arrive. */
export const formatBatch = (
  written: readonly Written[],
  jsonCharactersMax = replyJsonCharactersMax,
): BatchWriteRecordsResponse => {
  let left = Math.min(jsonCharactersMax, replyJsonCharactersMax);
  return {
    results: written.map((each) => {
      const result = formatWritten(each, left);
      left -= result.record?.payloadJson.length ?? 0;
      return result;
    }),
  };
};

export const formatWatchEvent = (event: WatchEvent, presentation: Presentation): WatchResponse => {
  const proof = event.proof && { hashes: [...event.proof], evidence: nothing };
  switch (event.kind) {
    case "record":
      return {
        event: { $case: "record", value: formatVersioned(event.record, presentation) },
        nextPosition: event.next,
        proof,
      };
    case "erased":
      return {
        event: { $case: "erased", value: { position: event.position, leaf: event.leaf } },
        nextPosition: event.next,
        proof,
      };
    case "heartbeat":
      return {
        event: {
          $case: "heartbeat",
          value: { checkpoint: event.checkpoint, time: formatTime(event.timeMs) },
        },
        nextPosition: event.next,
        proof,
      };
  }
};

export const formatAttestation = (attestation: ReceivedAttestation): AttestationMessage => ({
  witness: attestation.witness,
  role: ROLES[attestation.role],
  epoch: BigInt(attestation.epoch),
  time: formatTime(attestation.timeMs),
  statement: attestation.statement,
  counts: attestation.counts,
});

export const formatProposal = (proposal: Proposal): ProposalMessage => ({
  id: proposal.id,
  state: STATES[proposal.outcome],
  endingReason: proposal.endingReason,
  body: proposal.bodyBytes,
  recordHash: proposal.recordHash,
  with: [...proposal.with],
  origin: proposal.origin,
  epoch: BigInt(proposal.epoch),
  kind: proposal.body.kind,
  recordId: proposal.body.id,
  payloadJson: jsonOf(proposal.body.payload),
  base: proposal.base ?? nothing,
  proposer: proposal.proposer,
  reason: proposal.reason,
  time: formatTime(proposal.timeMs),
  expireTime: formatTime(proposal.expiresMs),
  separateCommit: proposal.commit === "separate",
  attestations: proposal.attestations.map(formatAttestation),
  approvedBy: [...proposal.approvedBy],
  rejectedBy: [...proposal.rejectedBy],
  approvalsNeeded: proposal.approvalsNeeded,
  possessionNeeded: proposal.possessionNeeded,
  enrolsWitness: proposal.enrols?.witness ?? "",
  enrolsPublicKey: proposal.enrols?.publicKey ?? nothing,
  ledgerPosition: proposal.position,
  committedPosition: proposal.committedPosition ?? undefined,
});

export const formatSystemRecord = (system: SystemRecord): GetSystemRecordResponse => ({
  record: formatVersioned(system.record),
  attestedBy: [...system.attestedBy],
  k: system.k,
  n: system.n,
  epoch: BigInt(system.epoch),
  proposalId: system.proposalId,
});

export const formatQuorum = ({ k, witnesses, epoch, proposerMayAttest }: Registry): Quorum => ({
  k,
  n: witnesses.size,
  epoch: BigInt(epoch),
  proposerMayAttest,
});

export const formatWitness = (witness: EnrolledWitness): Witness => ({
  id: witness.id,
  publicKey: witness.publicKey,
  thumbprint: witness.thumbprint,
  owner: witness.owner,
  authority: witness.authority,
  description: witness.description,
  enrolledPosition: witness.enrolledAt,
});
