/**
 * Builds the records that a step of a proposal writes in one batch: attestation, committed records, endings. Pure of
 * I/O: the plan says what happens to a proposal, this file how it is recorded. Source: docs/spec/quorum.md §3.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import {
  decodeBody,
  formatAttestationRecord,
  formatProposalEnding,
  type ProposalOutcome,
  type RecordBody,
  type RecordLink,
  attestationPrefix,
  proposalEndingPrefix,
  systemBody,
} from "@sigil/core/record";
import { dueEnding, tally, type Facts, type Given } from "@sigil/core/quorum";
import { proposalName, stateOf, type KeptProposal } from "./kept-proposal.ts";
import { newestFirst, type Moment } from "./state.ts";

/** Everything that a step writes together. */
export type Batch = {
  readonly bodies: readonly RecordBody[];
  /** Attestations of each body, by index. */
  readonly attestations: readonly (readonly Uint8Array[])[];
};

/** A statement being accepted. */
export type Latest = { readonly given: Given; readonly statement: Uint8Array };

type End = {
  readonly outcome: ProposalOutcome;
  readonly reason: string;
  readonly links?: readonly RecordLink[];
};

export const endingOf = (kept: KeptProposal, { outcome, reason, links = [] }: End, ts: number): RecordBody =>
  systemBody({
    kind: "proposal_ending",
    space: "user",
    id: proposalEndingPrefix + proposalName(kept.id),
    ts,
    payload: formatProposalEnding({ proposal: kept.id, outcome, reason }),
    links: [{ label: "proposal", target: kept.hash }, ...links],
  });

/** Endings of expired and superseded proposals. */
export const lapsedIn = (moment: Moment, nowMs: number): readonly RecordBody[] => {
  const { heads, registry } = moment;
  return newestFirst(moment).flatMap((kept): RecordBody[] => {
    const head = heads.get(kept.body.id) ?? null;
    const outcome = dueEnding(stateOf(kept, registry.registry), { nowMs, head });
    return outcome === null ? [] : [endingOf(kept, { outcome, reason: dueReasons[outcome] }, nowMs)];
  });
};

/** Reasons for endings without a call. */
export const dueReasons = {
  expired: "its time ran out",
  superseded: "the record has a newer version",
} as const;

/** A witness's later statement is the next version of its earlier one, which was about another epoch. */
export const attestationOf = (
  kept: KeptProposal,
  { given: { witness, role }, statement }: Latest,
  decision: Hash,
  ts: number,
): RecordBody => {
  // A new key's proof of possession is not an attestation by its witness.
  const isPossession = role === "possession";
  const before = kept.received.findLast(
    (each) => each.witness === witness && (each.role === "possession") === isPossession,
  );
  return systemBody({
    kind: "attestation",
    space: "user",
    id: `${attestationPrefix}${proposalName(kept.id)}/${witness}${isPossession ? "/possession" : ""}`,
    ts,
    payload: formatAttestationRecord({ proposal: kept.id, witness, role, statement }),
    links: [
      { label: "proposal", target: kept.hash },
      { label: "decision", target: decision },
    ],
    prev: before?.hash ?? null,
  });
};

/** The statements in a committed record: the approvals that count, and the proof of possession. */
export const evidenceOf = (kept: KeptProposal, facts: Facts, latest?: Latest): readonly Uint8Array[] => {
  const state = stateOf(kept, facts.registry);
  const given = latest === undefined ? state.given : [...state.given, latest.given];
  const { approvedBy } = tally({ ...state, given }, facts.registry, facts.proposerKeys);
  const statements = new Map(kept.received.map(({ parsed, statement }) => [toHex(parsed.digest), statement]));
  if (latest !== undefined) statements.set(toHex(latest.given.digest), latest.statement);
  return given.flatMap(({ witness, role, epoch, digest }): readonly Uint8Array[] => {
    if (epoch !== facts.registry.epoch || role === "reject") return [];
    if (role === "approve" && !approvedBy.includes(witness)) return [];
    const statement = statements.get(toHex(digest));
    return statement === undefined ? [] : [statement];
  });
};

/** The commit of a proposal, the changed record first, with its evidence and the endings of those it supersedes. */
export const commitOf = (
  kept: KeptProposal,
  evidence: readonly Uint8Array[],
  moment: Moment,
  ts: number,
): Batch => {
  const bodies = [kept.body, ...kept.payload.with.map((bytes) => decodeBody(bytes))];
  const links = [{ label: "record", target: kept.recordHash }];
  const endings = [endingOf(kept, { outcome: "committed", reason: "the quorum approved it", links }, ts)];
  for (const other of newestFirst(moment)) {
    if (other.id === kept.id || other.body.id !== kept.body.id) continue;
    endings.push(endingOf(other, { outcome: "superseded", reason: `${kept.id} was committed` }, ts));
  }
  return { bodies: [...bodies, ...endings], attestations: [evidence] };
};
