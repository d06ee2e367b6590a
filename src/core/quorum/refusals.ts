/**
 * Reasons for refusing an attestation, a commit or a withdrawal: one name and one sentence each. Pure. Source:
 * docs/spec/quorum.md §7. The name in capitals is what callers see as `ErrorInfo.reason`.
 */
import type { CoreError } from "../errors.ts";
import type { ProposalOutcome } from "../record/kinds.ts";

const attestRules = {
  ended: "the proposal has ended",
  expired: "the proposal has expired",
  staleBase: "the record it replaces has a newer version than the one it was proposed against",
  quorumInvalid: "the registry in force has no k from 1 to its number of witnesses",
  otherOrigin: "is for another deployment",
  otherProposal: "is for another proposal",
  otherBody: "is for another body than the one proposed",
  otherEpoch: "is for another epoch of the registry than the one in force",
  unknownWitness: "is by a key that no enrolled witness holds",
  weakKey: "is by a key that is malformed, not canonical or of small order",
  badSignature: "has a signature that does not hold",
  enrolledLater: "is by a key that was enrolled after the proposal",
  ownProposal: "is by the proposer itself",
  replayed: "was given already, byte for byte",
  alreadyAttested: "is the second by this witness in this epoch",
  sameKey: "is by a key that has attested under another witness id",
  sameOwner: "is by a witness whose owner has attested through another",
  rejectByNewKey: "rejects with a key that is only being enrolled: possession is shown by approving",
} as const;

const otherRules = {
  quorumShort: "has fewer approvals than the quorum asks for",
  possessionMissing: "lacks the statement by the key it enrols",
  notProposer:
    "may be withdrawn by its proposer only, or by Root where it is about neither that Root nor a suspension",
} as const;

export type AttestRefusal = keyof typeof attestRules;
export type Refusal = AttestRefusal | keyof typeof otherRules;

/** `outcome` is how the proposal ended, for reason `ended`. */
export type Refused<Reason extends Refusal> =
  | { readonly kind: "refused"; readonly reason: Exclude<Reason, "ended">; readonly rule: string }
  | {
      readonly kind: "refused";
      readonly reason: Extract<Reason, "ended">;
      readonly rule: string;
      readonly outcome: ProposalOutcome;
    };

/** The sentence of each reason; it continues "the attestation …" or "the proposal …" unless it names its subject. */
export const refusalRules: Readonly<Record<Refusal, string>> = { ...attestRules, ...otherRules };

export const refuse = <Reason extends Exclude<Refusal, "ended">>(reason: Reason) =>
  ({ kind: "refused", reason, rule: refusalRules[reason] }) as const;

export const refuseEnded = (outcome: ProposalOutcome) =>
  ({ kind: "refused", reason: "ended", rule: `${refusalRules.ended}: ${outcome}`, outcome }) as const;

/**
 * The reason on the wire: `staleBase` is STALE_BASE; for an ended proposal its outcome, for example PROPOSAL_WITHDRAWN.
 */
export const wireReason = (refused: Refused<Refusal>): string => {
  if (refused.reason === "ended") return `PROPOSAL_${refused.outcome.toUpperCase()}`;
  if (refused.reason === "expired") return "PROPOSAL_EXPIRED";
  return refused.reason.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
};

const forged: readonly Refusal[] = [
  "unknownWitness",
  "weakKey",
  "badSignature",
  "ownProposal",
  "enrolledLater",
];
/** Whether the statement's signer may not make it at all. */
export const isForgery = (reason: Refusal): boolean =>
  reason === "unknownWitness" || reason === "weakKey" || reason === "badSignature";

const repeated: readonly Refusal[] = ["replayed", "alreadyAttested"];

const aboutProposal: readonly Refusal[] = ["quorumShort", "possessionMissing", "notProposer"];

/** The rule as a sentence, with the attestation or the proposal as its subject unless it has its own. */
const sentenceOf = ({ reason, rule }: Refused<Refusal>): string => {
  if (rule.startsWith("the ")) return rule;
  return `the ${aboutProposal.includes(reason) ? "proposal" : "attestation"} ${rule}`;
};

/** The error that a caller gets for a refusal. */
export const errorOf = (id: string, refused: Refused<Refusal>): CoreError => {
  const reason = wireReason(refused);
  if (refused.reason === "ended") {
    return { kind: "proposalEnded", reason, proposal: id, outcome: refused.outcome };
  }
  const why = { reason, rule: sentenceOf(refused) };
  if (forged.includes(refused.reason)) return { kind: "attestationForged", ...why };
  if (repeated.includes(refused.reason)) return { kind: "attestationRepeated", ...why };
  return { kind: "attestationRefused", ...why };
};
