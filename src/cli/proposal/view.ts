/** Formats proposals for a terminal, from the server's fields. */
import { proposalPrefix } from "@sigil/core/record";
import { attestationRoleToJSON, ProposalState, proposalStateToJSON, type Proposal } from "@sigil/client";
import { timeText } from "../call/listing.ts";
import {
  formatPairs,
  formatTable,
  printable,
  type Cell,
  type Style,
  type Terminal,
} from "../terminal/terminal.ts";

/** Accepts the uuid alone. */
export const proposalId = (word = ""): string => (word.includes("/") ? word : proposalPrefix + word);

const states: ReadonlyMap<string, ProposalState> = new Map(
  Object.entries(ProposalState).map(([name, state]) => [
    name.replace("PROPOSAL_STATE_", "").toLowerCase(),
    state,
  ]),
);

export const stateNames: readonly string[] = [...states.keys()].filter(
  (name) => name !== "unspecified" && name !== "unrecognized",
);

export const parseState = (name: string): ProposalState | undefined =>
  stateNames.includes(name) ? states.get(name) : undefined;

export const stateName = (state: ProposalState): string =>
  proposalStateToJSON(state).replace("PROPOSAL_STATE_", "").toLowerCase();

const stateStyle = (state: ProposalState): Style => {
  if (state === ProposalState.PROPOSAL_STATE_OPEN) return "yellow";
  return state === ProposalState.PROPOSAL_STATE_COMMITTED ? "green" : "dim";
};

const stateCell = (state: ProposalState, { paint }: Terminal): Cell => ({
  text: stateName(state),
  style: stateStyle(state),
  paint,
});

export const approvals = (count: number): string => `${count} more approval${count === 1 ? "" : "s"}`;

/** What an open proposal still needs; empty if nothing. */
export const lacking = ({ approvalsNeeded, possessionNeeded }: Proposal): string =>
  [
    ...(approvalsNeeded > 0 ? [approvals(approvalsNeeded)] : []),
    ...(possessionNeeded ? ["the statement of the new key"] : []),
  ].join(" and ");

export const formatProposals = (proposals: readonly Proposal[], terminal: Terminal): string =>
  formatTable(
    [
      { title: "PROPOSAL" },
      { title: "STATE" },
      { title: "RECORD", widthMax: 40 },
      { title: "PROPOSER", widthMax: 20 },
      { title: "APPROVED BY", widthMax: 40 },
      { title: "NEEDS", align: "right" },
      { title: "EXPIRES" },
      { title: "REASON", widthMax: 40 },
    ],
    proposals.map((proposal) => [
      proposal.id,
      stateCell(proposal.state, terminal),
      proposal.recordId,
      proposal.proposer,
      proposal.approvedBy.join(", "),
      proposal.state === ProposalState.PROPOSAL_STATE_OPEN ? String(proposal.approvalsNeeded) : "",
      timeText(proposal.expireTime),
      proposal.reason,
    ]),
  );

/** Shows whether an attestation counts only while the proposal is open. */
const formatAttestations = ({ attestations, state }: Proposal): string => {
  const isOpen = state === ProposalState.PROPOSAL_STATE_OPEN;
  const columns = [
    { title: "WITNESS" },
    { title: "ROLE" },
    { title: "EPOCH", align: "right" } as const,
    { title: "TIME" },
    ...(isOpen ? [{ title: "COUNTS" }] : []),
  ];
  const rows = attestations.map(({ witness, role, epoch, time, counts }) => [
    witness,
    attestationRoleToJSON(role).replace("ATTESTATION_ROLE_", "").toLowerCase(),
    String(epoch),
    timeText(time),
    counts ? "yes" : "no",
  ]);
  return formatTable(columns, rows);
};

/** Formats everything but the change itself, which is decoded from its bytes (proposal-body.ts). */
export const formatProposal = (proposal: Proposal, { paint }: Terminal): string => {
  const isOpen = proposal.state === ProposalState.PROPOSAL_STATE_OPEN;
  const lacks = lacking(proposal);
  const facts = formatPairs([
    ["proposer", proposal.proposer],
    ["reason", proposal.reason],
    ["proposed", timeText(proposal.time)],
    [isOpen ? "expires" : "expired", isOpen ? timeText(proposal.expireTime) : undefined],
    ["ended", proposal.endingReason],
    ["epoch", String(proposal.epoch)],
    ["approved by", proposal.approvedBy.join(", ")],
    ["rejected by", proposal.rejectedBy.join(", ")],
    ["needs", isOpen && lacks !== "" ? lacks : undefined],
    ["commits", proposal.separateCommit ? "by sigil commit, after the last approval" : undefined],
    [
      "committed at",
      proposal.committedPosition === undefined ? undefined : String(proposal.committedPosition),
    ],
  ]);
  const head = `${paint(stateStyle(proposal.state), stateName(proposal.state).toUpperCase())}  ${printable(proposal.id)}`;
  const given = proposal.attestations.length === 0 ? [] : ["", formatAttestations(proposal)];
  return [head, "", facts, ...given].join("\n");
};
