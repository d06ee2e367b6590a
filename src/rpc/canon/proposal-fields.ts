/** The rules of fields about proposals and the witness registry, as the proto comments state them. */
import {
  ProposalState,
  type AttestProposalRequest,
  type ListProposalsRequest,
  type ProposeRecordRequest,
} from "@sigil/proto/sigil/canon/v1/canon";
import type { AddWitness, ProposeWitnessChangeRequest } from "@sigil/proto/sigil/canon/v1/witness";
import type { Proposal, ProposalQuery, RecordProposal, WitnessProposal } from "../../canon/domain.ts";
import { proposableKind } from "../../canon/kinds.ts";
import type { RegistryChange } from "@sigil/core/quorum";
import { parsePublicKey, type PublicKey } from "@sigil/core/bytes";
import { invalidField } from "../../errors.ts";
import { principalIdBytesMax } from "@sigil/core/limits";
import {
  attestationBytesMax,
  proposalLifetimeMsDefault,
  proposalLifetimeMsMax,
  proposalReasonBytesMax,
  witnessDescriptionBytesMax,
  witnessNameBytesMax,
} from "../../limits.ts";
import { readContent } from "../message/content.ts";
import { readIdempotencyKey, readPageSize, readRecordId, readText } from "../message/fields.ts";

export const readReason = (reason: string): string => readText(reason, "reason", proposalReasonBytesMax);

const lifetimeSecondsMax = proposalLifetimeMsMax / 1000;

const readLifetimeMs = (seconds: number): number => {
  if (seconds > lifetimeSecondsMax) invalidField("lifetime_seconds", `must be at most ${lifetimeSecondsMax}`);
  return seconds === 0 ? proposalLifetimeMsDefault : seconds * 1000;
};

/** How a proposal is put, whatever it proposes. @throws invalidField. */
export const readPutting = (
  request: Pick<ProposeRecordRequest, "reason" | "lifetimeSeconds" | "separateCommit" | "idempotencyKey">,
) => ({
  reason: readReason(request.reason),
  lifetimeMs: readLifetimeMs(request.lifetimeSeconds),
  commit: request.separateCommit ? ("separate" as const) : ("auto" as const),
  idempotencyKey: readIdempotencyKey(request.idempotencyKey),
});

/** @throws invalidField. */
export const readProposal = (request: ProposeRecordRequest): RecordProposal => {
  const id = readRecordId(request.id, "id");
  return {
    ...readPutting(request),
    id,
    content: readContent(request.content, proposableKind(id)),
    expectedVersion: request.expectedVersion,
  };
};

const witnessIdShape = new RegExp(`^[A-Za-z0-9._~:@-]{1,${principalIdBytesMax}}$`);

const readWitnessId = (id: string, field: string): string =>
  witnessIdShape.test(id)
    ? id
    : invalidField(field, `must be 1 to ${principalIdBytesMax} bytes of letters, digits and . _ ~ : @ -`);

const publicKeyBytes = 32;

const readPublicKey = (key: Uint8Array, field: string): PublicKey =>
  key.length === publicKeyBytes
    ? parsePublicKey(key)
    : invalidField(field, `must be ${publicKeyBytes} bytes`);

/** Nothing for 0, which leaves it. Whether k of n can be reached is the registry's rule. */
const readK = (k: number): { readonly k?: number } => (k === 0 ? {} : { k });

const readAdd = ({ id, publicKey, owner, authority, description, k }: AddWitness): RegistryChange => {
  if (owner.trim() === "") invalidField("add.owner", "must not be empty");
  return {
    kind: "add",
    id: readWitnessId(id, "add.id"),
    witness: {
      publicKey: readPublicKey(publicKey, "add.public_key"),
      owner: readText(owner, "add.owner", witnessNameBytesMax),
      authority: readText(authority, "add.authority", witnessNameBytesMax),
      description: readText(description, "add.description", witnessDescriptionBytesMax),
    },
    ...readK(k),
  };
};

const readChange = ({ change }: ProposeWitnessChangeRequest): RegistryChange => {
  switch (change?.$case) {
    case "add":
      return readAdd(change.value);
    case "remove": {
      const { id, k } = change.value;
      return { kind: "remove", id: readWitnessId(id, "remove.id"), ...readK(k) };
    }
    case "replace": {
      const { id, publicKey } = change.value;
      return {
        kind: "replace",
        id: readWitnessId(id, "replace.id"),
        publicKey: readPublicKey(publicKey, "replace.public_key"),
      };
    }
    case "quorum": {
      const { k, proposerMayAttest } = change.value;
      const right = proposerMayAttest === undefined ? {} : { proposerMayAttest };
      return { kind: "quorum", ...readK(k), ...right };
    }
    case undefined:
      return invalidField("change", "must be add, remove, replace or quorum");
  }
};

/** @throws invalidField. */
export const readWitnessProposal = (request: ProposeWitnessChangeRequest): WitnessProposal => ({
  ...readPutting(request),
  change: readChange(request),
});

export const readProposalId = (id: string): string => readRecordId(id, "id");

/** @throws invalidField. */
export const readStatement = ({ statement }: AttestProposalRequest): Uint8Array =>
  statement.length > 0 && statement.length <= attestationBytesMax
    ? statement
    : invalidField("statement", `must be 1 to ${attestationBytesMax} bytes`);

const OUTCOMES: ReadonlyMap<number, Proposal["outcome"] | undefined> = new Map<
  number,
  Proposal["outcome"] | undefined
>([
  [ProposalState.PROPOSAL_STATE_UNSPECIFIED, undefined],
  [ProposalState.PROPOSAL_STATE_OPEN, "open"],
  [ProposalState.PROPOSAL_STATE_COMMITTED, "committed"],
  [ProposalState.PROPOSAL_STATE_REJECTED, "rejected"],
  [ProposalState.PROPOSAL_STATE_WITHDRAWN, "withdrawn"],
  [ProposalState.PROPOSAL_STATE_EXPIRED, "expired"],
  [ProposalState.PROPOSAL_STATE_SUPERSEDED, "superseded"],
]);

const readState = (state: ProposalState): Proposal["outcome"] | undefined =>
  OUTCOMES.has(state) ? OUTCOMES.get(state) : invalidField("state", "must be a state this server knows");

/** @throws invalidField. */
export const readProposalQuery = (request: ListProposalsRequest): ProposalQuery => {
  const { waitingForWitness: witness, recordId } = request;
  return {
    outcome: readState(request.state),
    waitingForWitness: witness === "" ? "" : readWitnessId(witness, "waiting_for_witness"),
    recordId: recordId === "" ? "" : readRecordId(recordId, "record_id"),
    pageSize: readPageSize(request.pageSize),
    pageToken: request.pageToken,
  };
};
