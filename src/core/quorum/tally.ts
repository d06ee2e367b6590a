/**
 * A proposal's state, and the tally of its attestations, recounted each time. Pure. Source: docs/spec/quorum.md §4. At
 * most `attestationsMax` witnesses, each counted once.
 */
import { witnessPrefix } from "../record/system.ts";
import { equalBytes, type Hash, type PublicKey } from "../bytes.ts";
import { ownerName, type ProposalOutcome } from "../record/kinds.ts";
import { isQuorum, voicesMax, type EnrolledWitness, type Registry } from "./registry.ts";

/** An accepted attestation. */
export type Given = {
  /** Id of the witness; for a possession statement, of the one being enrolled. */
  readonly witness: string;
  readonly publicKey: PublicKey;
  readonly owner: string;
  readonly epoch: number;
  readonly role: "approve" | "reject" | "possession";
  /** SHA-256 of the statement. */
  readonly digest: Hash;
};

export type ProposalState = {
  /** Record id of the proposal, `proposal/<uuid>`. */
  readonly id: string;
  /** The proposal's ledger position. */
  readonly position: bigint;
  /** Hash of the body that would be committed. */
  readonly record: Hash;
  /** Hash of the version it replaces. */
  readonly base: Hash | null;
  readonly expiresMs: number;
  /** Principal id. */
  readonly proposer: string;
  readonly commit: "auto" | "separate";
  /** The key it would enrol, which must sign too. */
  readonly enrols: { readonly witness: string; readonly publicKey: PublicKey } | null;
  readonly status: "open" | ProposalOutcome;
  /** In order of acceptance. */
  readonly given: readonly Given[];
};

export type Tally = {
  /** Ids of the witnesses that count, in order of attestation. */
  readonly approvedBy: readonly string[];
  readonly rejectedBy: readonly string[];
  /** Approvals still missing; more than the number of witnesses if the registry's k is impossible. */
  readonly needed: number;
  readonly possession: "notNeeded" | "missing" | "given";
};

/** Whether the witness is the proposer, by key, id, owner or calling id. */
const isProposer = (
  witness: EnrolledWitness,
  proposer: string,
  proposerKeys: readonly PublicKey[],
): boolean => {
  const name = ownerName(proposer);
  const { id, owner, publicKey } = witness;
  const names = [ownerName(id), ownerName(owner), ownerName(witnessPrefix + id)];
  return (name !== "" && names.includes(name)) || proposerKeys.some((own) => equalBytes(own, publicKey));
};

/** Why a witness may not attest this proposal at all. */
export const barred = (
  state: ProposalState,
  registry: Registry,
  proposerKeys: readonly PublicKey[],
  witness: EnrolledWitness,
): "enrolledLater" | "ownProposal" | null => {
  if (witness.enrolledAt >= state.position) return "enrolledLater";
  if (registry.proposerMayAttest) return null;
  return isProposer(witness, state.proposer, proposerKeys) ? "ownProposal" : null;
};

/** A witness whose attestation counts, with the role it took. */
type Counted = { readonly witness: EnrolledWitness; readonly role: "approve" | "reject" };

/** What a witness shares with one already counted, if anything. */
export const taken = (
  counted: readonly Counted[],
  witness: EnrolledWitness,
): "alreadyAttested" | "sameKey" | "sameOwner" | null => {
  if (counted.some((other) => other.witness.id === witness.id)) return "alreadyAttested";
  if (counted.some((other) => equalBytes(other.witness.publicKey, witness.publicKey))) return "sameKey";
  const owner = ownerName(witness.owner);
  return counted.some((other) => ownerName(other.witness.owner) === owner) ? "sameOwner" : null;
};

/**
 * Recounts under the current registry: attestations of this epoch, by keys enrolled before the proposal, not the
 * proposer's own, each key and owner once.
 */
export const countGiven = (
  state: ProposalState,
  registry: Registry,
  proposerKeys: readonly PublicKey[],
): readonly Counted[] => {
  const counted: Counted[] = [];
  for (const { witness: id, publicKey, epoch, role } of state.given) {
    if (role === "possession" || epoch !== registry.epoch) continue;
    const witness = registry.witnesses.get(id);
    if (witness === undefined || !equalBytes(witness.publicKey, publicKey)) continue;
    if (barred(state, registry, proposerKeys, witness) !== null || taken(counted, witness) !== null) continue;
    counted.push({ witness, role });
  }
  return counted;
};

const approvalsOf = (counted: readonly Counted[]): number =>
  counted.filter(({ role }) => role === "approve").length;

/** The approvals needed; unreachable if the registry's k is impossible. */
const threshold = ({ k, witnesses }: Registry): number =>
  isQuorum(k, witnesses.size) ? k : witnesses.size + 1;

export const possessionOf = ({ enrols, given }: ProposalState, registry: Registry): Tally["possession"] => {
  if (enrols === null) return "notNeeded";
  const shown = given.some(
    ({ role, epoch, publicKey }) =>
      role === "possession" && epoch === registry.epoch && equalBytes(publicKey, enrols.publicKey),
  );
  return shown ? "given" : "missing";
};

/** Tallies a proposal. Without the proposer's keys, a witness that shares one with the proposer is still counted. */
export const tally = (
  state: ProposalState,
  registry: Registry,
  proposerKeys: readonly PublicKey[] = [],
): Tally => {
  const counted = countGiven(state, registry, proposerKeys);
  const idsOf = (wanted: Counted["role"]) =>
    counted.filter(({ role }) => role === wanted).map(({ witness }) => witness.id);
  const approvedBy = idsOf("approve");
  return {
    approvedBy,
    rejectedBy: idsOf("reject"),
    needed: Math.max(0, threshold(registry) - approvedBy.length),
    possession: possessionOf(state, registry),
  };
};

/** Whether a statement by the witness would still count: an approval or rejection, or its proof of possession. */
export const isAwaited = (
  state: ProposalState,
  registry: Registry,
  proposerKeys: readonly PublicKey[],
  id: string,
): boolean => {
  if (state.enrols?.witness === id && possessionOf(state, registry) === "missing") return true;
  const witness = registry.witnesses.get(id);
  if (witness === undefined || barred(state, registry, proposerKeys, witness) !== null) return false;
  return taken(countGiven(state, registry, proposerKeys), witness) === null;
};

/**
 * Whether the witnesses that have not attested yet can still bring the approvals to k. If false before any attestation,
 * too few witnesses may attest, so proposing is pointless.
 */
export const canReachQuorum = (
  state: ProposalState,
  registry: Registry,
  proposerKeys: readonly PublicKey[],
): boolean => {
  const counted = countGiven(state, registry, proposerKeys);
  const left = [...registry.witnesses.values()].filter(
    (witness) => barred(state, registry, proposerKeys, witness) === null && taken(counted, witness) === null,
  );
  return approvalsOf(counted) + voicesMax(left) >= threshold(registry);
};
