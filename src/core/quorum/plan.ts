/**
 * The life of a proposal: which attestations are accepted, which count, when it commits or ends. Pure: every rule takes
 * state and facts and returns a plan; `canon/` writes it. Source: docs/spec/quorum.md §3 and §4. Rules are checked in
 * the specification's order; the first one broken is reported.
 */
import { equalBytes, type Hash, type PublicKey, type Thumbprint } from "../bytes.ts";
import type { Attestation } from "../record/attestation.ts";
import { coseKeyThumbprint } from "../cose/cose.ts";
import {
  barred,
  canReachQuorum,
  countGiven,
  possessionOf,
  taken,
  tally,
  type Given,
  type ProposalState,
} from "./tally.ts";
import { refuse, refuseEnded, type AttestRefusal, type Refused } from "./refusals.ts";
import { isQuorum, type EnrolledWitness, type Registry } from "./registry.ts";

export { canReachQuorum, isAwaited, tally, type Given, type ProposalState, type Tally } from "./tally.ts";
export type { AttestRefusal } from "./refusals.ts";

export type Facts = {
  readonly registry: Registry;
  readonly origin: string;
  readonly nowMs: number;
  /** Hash of the newest version of the record the proposal replaces. */
  readonly head: Hash | null;
  /** The proposer's current public keys. */
  readonly proposerKeys: readonly PublicKey[];
};

export type SignedAttestation = {
  readonly origin: string;
  readonly subject: string;
  readonly kid: Thumbprint;
  readonly attestation: Attestation;
  /** SHA-256 of the statement. */
  readonly digest: Hash;
};

/** `weakKey`: malformed, not canonical or of small order. */
export type SignatureCheck = "holds" | "fails" | "weakKey";

export type AttestingKey =
  | { readonly kind: "witness"; readonly witness: EnrolledWitness }
  | { readonly kind: "possession"; readonly witness: string; readonly publicKey: PublicKey }
  | { readonly kind: "unknown" };

export type AttestPlan =
  | Refused<AttestRefusal>
  | {
      readonly kind: "accepted";
      readonly given: Given;
      /** The state with the attestation; still open, whatever `next` is. */
      readonly state: ProposalState;
      /** What the same batch must also do. */
      readonly next: "wait" | "commit" | "reject";
    };

export type CommitRefusal =
  | "ended"
  | "expired"
  | "staleBase"
  | "quorumInvalid"
  | "quorumShort"
  | "possessionMissing";

export type CommitPlan =
  | { readonly kind: "commit" }
  /** Already committed: repeat that answer. */
  | { readonly kind: "already" }
  | (Refused<CommitRefusal> & { readonly needed: number });

export type WithdrawPlan =
  | { readonly kind: "withdraw" }
  /** Already withdrawn: repeat that answer. */
  | { readonly kind: "already" }
  | Refused<"ended" | "expired" | "notProposer">;

const sameHash = (a: Hash | null, b: Hash | null): boolean =>
  a === null || b === null ? a === b : equalBytes(a, b);

/** Also true if either time is NaN. */
export const isExpired = (state: ProposalState, nowMs: number): boolean => !(nowMs < state.expiresMs);

const isStale = (state: ProposalState, facts: Pick<Facts, "head">): boolean =>
  !sameHash(state.base, facts.head);

/** How an open proposal has already ended, though no record says so yet; null while it may still commit. */
export const dueEnding = (
  state: ProposalState,
  facts: Pick<Facts, "nowMs" | "head">,
): "expired" | "superseded" | null => {
  if (state.status !== "open") return null;
  if (isExpired(state, facts.nowMs)) return "expired";
  return isStale(state, facts) ? "superseded" : null;
};

/**
 * The holder of the key that a statement names. If two ids hold one key, the one that has not attested in this epoch,
 * so that the second use is refused as `sameKey`.
 */
export const findAttestingKey = (state: ProposalState, registry: Registry, kid: Thumbprint): AttestingKey => {
  const holders = [...registry.witnesses.values()].filter(({ thumbprint }) => equalBytes(thumbprint, kid));
  const hasGiven = (id: string) =>
    state.given.some(
      ({ witness, epoch, role }) => witness === id && epoch === registry.epoch && role !== "possession",
    );
  const witness = holders.find(({ id }) => !hasGiven(id)) ?? holders[0];
  if (witness !== undefined) return { kind: "witness", witness };
  const { enrols } = state;
  return enrols !== null && equalBytes(coseKeyThumbprint(enrols.publicKey), kid)
    ? { kind: "possession", ...enrols }
    : { kind: "unknown" };
};

/** Why the proposal takes no attestation or commit. */
const closedTo = (state: ProposalState, facts: Facts) => {
  if (state.status !== "open") return refuseEnded(state.status);
  if (isExpired(state, facts.nowMs)) return refuse("expired");
  if (isStale(state, facts)) return refuse("staleBase");
  return isQuorum(facts.registry.k, facts.registry.witnesses.size) ? null : refuse("quorumInvalid");
};

/** Checks the statement's content, not its signer. */
const contentRefusal = (
  state: ProposalState,
  facts: Facts,
  { origin, subject, attestation }: SignedAttestation,
): Exclude<AttestRefusal, "ended"> | null => {
  if (origin !== facts.origin) return "otherOrigin";
  if (subject !== state.id || attestation.proposal !== state.id) return "otherProposal";
  if (!equalBytes(attestation.record, state.record)) return "otherBody";
  return attestation.epoch === facts.registry.epoch ? null : "otherEpoch";
};

/** Checks the signer: returns the attestation to record, or the refusal. */
const signerOf = (
  state: ProposalState,
  facts: Facts,
  { kid, attestation, digest }: SignedAttestation,
  signature: SignatureCheck,
): Given | Exclude<AttestRefusal, "ended"> => {
  const key = findAttestingKey(state, facts.registry, kid);
  if (key.kind === "unknown") return "unknownWitness";
  if (signature !== "holds") return signature === "weakKey" ? "weakKey" : "badSignature";
  const { epoch } = attestation;
  const isReplay = state.given.some((given) => equalBytes(given.digest, digest));
  if (key.kind === "possession") {
    if (attestation.verdict !== "approve") return "rejectByNewKey";
    if (isReplay) return "replayed";
    if (possessionOf(state, facts.registry) === "given") return "alreadyAttested";
    return { witness: key.witness, publicKey: key.publicKey, owner: "", epoch, role: "possession", digest };
  }
  const { witness } = key;
  const { registry, proposerKeys } = facts;
  const refusal =
    barred(state, registry, proposerKeys, witness) ??
    (isReplay ? "replayed" : taken(countGiven(state, registry, proposerKeys), witness));
  if (refusal !== null) return refusal;
  const { id, publicKey, owner } = witness;
  return { witness: id, publicKey, owner, epoch, role: attestation.verdict, digest };
};

/** @param signature result of verifying it with the key of `findAttestingKey`; ignored if that is unknown. */
export const planAttest = (
  state: ProposalState,
  facts: Facts,
  signed: SignedAttestation,
  signature: SignatureCheck,
): AttestPlan => {
  const closed = closedTo(state, facts);
  if (closed !== null) return closed;
  const given = contentRefusal(state, facts, signed) ?? signerOf(state, facts, signed, signature);
  if (typeof given === "string") return refuse(given);
  const attested = { ...state, given: [...state.given, given] };
  return { kind: "accepted", given, state: attested, next: nextStep(attested, facts, given.role) };
};

/** Only an approval commits, and only a rejection rejects. */
const nextStep = (state: ProposalState, facts: Facts, role: Given["role"]): "wait" | "commit" | "reject" => {
  if (role === "reject") {
    return canReachQuorum(state, facts.registry, facts.proposerKeys) ? "wait" : "reject";
  }
  return state.commit === "auto" && planCommit(state, facts).kind === "commit" ? "commit" : "wait";
};

/** Recounts all attestations; no earlier count is reused. */
export const planCommit = (state: ProposalState, facts: Facts): CommitPlan => {
  if (state.status === "committed") return { kind: "already" };
  const { needed, possession } = tally(state, facts.registry, facts.proposerKeys);
  const closed = closedTo(state, facts);
  if (closed !== null) return { ...closed, needed };
  if (needed > 0) return { ...refuse("quorumShort"), needed };
  if (possession === "missing") return { ...refuse("possessionMissing"), needed };
  return { kind: "commit" };
};

export const planWithdraw = (
  state: ProposalState,
  facts: Pick<Facts, "nowMs">,
  by: { readonly principal: string; readonly mayForOthers: boolean },
): WithdrawPlan => {
  if (!by.mayForOthers && by.principal !== state.proposer) return refuse("notProposer");
  if (state.status === "withdrawn") return { kind: "already" };
  if (state.status !== "open") return refuseEnded(state.status);
  return isExpired(state, facts.nowMs) ? refuse("expired") : { kind: "withdraw" };
};
