/** Witnesses, registries, proposals and attestations to try the rules on, all from small numbers. */
import { parseHash, parsePublicKey, type Hash, type PublicKey } from "../../../src/core/bytes.ts";
import type { Attestation } from "../../../src/core/record/attestation.ts";
import { coseKeyThumbprint } from "../../../src/core/cose/cose.ts";
import type { EnrolledWitness, Registry } from "../../../src/core/quorum/registry.ts";
import { wireReason } from "../../../src/core/quorum/refusals.ts";
import {
  planAttest,
  type Facts,
  type ProposalState,
  type SignatureCheck,
  type SignedAttestation,
} from "../../../src/core/quorum/plan.ts";

export const origin = "ledger.example/main";
export const proposalId = "proposal/0190a0b0-0000-7000-8000-000000000001";

export const keyOf = (name: number): PublicKey => parsePublicKey(new Uint8Array(32).fill(name));
export const hashOf = (name: number): Hash => parseHash(new Uint8Array(32).fill(name));

/** Witness `w<name>` with a key and an owner of its own, enrolled at position 1. */
export const witnessOf = (name: number, but: Partial<EnrolledWitness> = {}): EnrolledWitness => {
  const publicKey = but.publicKey ?? keyOf(name);
  return {
    id: `w${name}`,
    publicKey,
    thumbprint: coseKeyThumbprint(publicKey),
    owner: `Owner ${name}`,
    authority: "operations",
    description: "",
    enrolledAt: 1n,
    ...but,
  };
};

export const registryOf = (
  k: number,
  witnesses: readonly EnrolledWitness[],
  but: Partial<Registry> = {},
): Registry => ({
  k,
  epoch: 3,
  proposerMayAttest: false,
  witnesses: new Map(witnesses.map((witness) => [witness.id, witness])),
  position: 2n,
  hash: hashOf(200),
  ...but,
});

/** Three witnesses, two of them enough. */
export const twoOfThree = registryOf(2, [witnessOf(1), witnessOf(2), witnessOf(3)]);

export const proposalOf = (but: Partial<ProposalState> = {}): ProposalState => ({
  id: proposalId,
  position: 100n,
  record: hashOf(50),
  base: hashOf(49),
  expiresMs: 1000,
  proposer: "alice",
  commit: "auto",
  enrols: null,
  status: "open",
  given: [],
  ...but,
});

export const factsOf = (but: Partial<Facts> = {}): Facts => ({
  registry: twoOfThree,
  origin,
  nowMs: 500,
  head: hashOf(49),
  proposerKeys: [keyOf(77)],
  ...but,
});

export type Said = Partial<Attestation> & {
  readonly origin?: string;
  readonly subject?: string;
  /** The same key and number make the same statement. */
  readonly statement?: number;
};

/** What the holder of key `name` signed; about the proposal of `proposalOf` unless it says otherwise. */
export const signedBy = (name: number, said: Said = {}): SignedAttestation => {
  const { origin: at = origin, subject, statement = 0, ...fields } = said;
  const attestation: Attestation = {
    proposal: proposalId,
    record: hashOf(50),
    epoch: 3,
    verdict: "approve",
    ...fields,
  };
  return {
    origin: at,
    subject: subject ?? attestation.proposal,
    kid: coseKeyThumbprint(keyOf(name)),
    attestation,
    digest: parseHash(Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? name : statement))),
  };
};

/** The proposal after each of them was accepted. */
export const attested = (
  state: ProposalState,
  facts: Facts,
  ...statements: readonly SignedAttestation[]
): ProposalState =>
  statements.reduce((before, signed) => {
    const plan = planAttest(before, facts, signed, "holds");
    if (plan.kind === "refused") throw new Error(`refused: ${plan.reason}`);
    return plan.state;
  }, state);

/** What follows an accepted attestation. */
export const nextOf = (state: ProposalState, facts: Facts, signed: SignedAttestation): string => {
  const plan = planAttest(state, facts, signed, "holds");
  return plan.kind === "accepted" ? plan.next : `refused: ${plan.reason}`;
};

/** `accepted`, or the reason as a caller sees it. */
export const reasonOf = (
  state: ProposalState,
  facts: Facts,
  signed: SignedAttestation,
  signature: SignatureCheck = "holds",
): string => {
  const plan = planAttest(state, facts, signed, signature);
  return plan.kind === "accepted" ? "accepted" : wireReason(plan);
};

/** Attested by the first of three. */
export const once = attested(proposalOf(), factsOf(), signedBy(1));
export const oneKey = registryOf(2, [witnessOf(1), witnessOf(2, { publicKey: keyOf(1) }), witnessOf(3)]);
export const oneOwner = registryOf(2, [witnessOf(1), witnessOf(2, { owner: " OWNER 1 " }), witnessOf(3)]);
export const enrolling = proposalOf({ enrols: { witness: "w4", publicKey: keyOf(4) } });
export const possessed = attested(enrolling, factsOf(), signedBy(4));
export const invalidQuorum = (k: number): Facts => factsOf({ registry: { ...twoOfThree, k } });
