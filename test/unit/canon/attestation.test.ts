/** Attestations, as a table: each refusal with its own reason, and what is kept of one that is accepted. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { proposalOutcomes } from "../../../src/core/record/kinds.ts";
import { refusalRules, wireReason } from "../../../src/core/quorum/refusals.ts";
import {
  planAttest,
  type Facts,
  type ProposalState,
  type SignatureCheck,
  type SignedAttestation,
} from "../../../src/core/quorum/plan.ts";
import {
  attested,
  enrolling,
  factsOf,
  hashOf,
  invalidQuorum,
  keyOf,
  nextOf,
  once,
  oneKey,
  oneOwner,
  possessed,
  proposalOf,
  reasonOf,
  registryOf,
  signedBy,
  twoOfThree,
  witnessOf,
} from "./quorum-world.ts";

type Row = {
  readonly name: string;
  readonly reason: string;
  readonly state?: ProposalState;
  readonly facts?: Facts;
  readonly signed?: SignedAttestation;
  readonly signature?: SignatureCheck;
};

const late = registryOf(2, [witnessOf(1, { enrolledAt: 100n }), witnessOf(2)]);
/** Three witnesses, and a proposal by one of them under some name. */
const byWitness = (but: Partial<ProposalState>, facts: Partial<Facts> = {}) => ({
  state: proposalOf(but),
  facts: factsOf({ proposerKeys: [], ...facts }),
});

const refused: readonly Row[] = [
  ...proposalOutcomes.map((status) => ({
    name: `one for a proposal that was ${status}`,
    reason: `PROPOSAL_${status.toUpperCase()}`,
    state: proposalOf({ status }),
  })),
  { name: "one at the instant of expiry", reason: "PROPOSAL_EXPIRED", facts: factsOf({ nowMs: 1000 }) },
  { name: "one at a time that is no number", reason: "PROPOSAL_EXPIRED", facts: factsOf({ nowMs: NaN }) },
  { name: "one on a stale base", reason: "STALE_BASE", facts: factsOf({ head: hashOf(48) }) },
  { name: "one on a base that is gone", reason: "STALE_BASE", facts: factsOf({ head: null }) },
  {
    name: "one on a new record that exists by now",
    reason: "STALE_BASE",
    state: proposalOf({ base: null }),
  },
  ...[0, -1, 4, 1.5, NaN, Infinity].map((k) => ({
    name: `one under k = ${k} of three`,
    reason: "QUORUM_INVALID",
    facts: invalidQuorum(k),
  })),
  {
    name: "one under a registry without a k",
    reason: "QUORUM_INVALID",
    facts: invalidQuorum(undefined as unknown as number),
  },
  {
    name: "one for another origin",
    reason: "OTHER_ORIGIN",
    signed: signedBy(1, { origin: "ledger.example/other" }),
  },
  { name: "one for another proposal", reason: "OTHER_PROPOSAL", signed: signedBy(1, { proposal: "p/2" }) },
  { name: "one with another subject", reason: "OTHER_PROPOSAL", signed: signedBy(1, { subject: "p/2" }) },
  { name: "one for another body", reason: "OTHER_BODY", signed: signedBy(1, { record: hashOf(51) }) },
  { name: "one of the epoch before", reason: "OTHER_EPOCH", signed: signedBy(1, { epoch: 2 }) },
  { name: "one of the epoch to come", reason: "OTHER_EPOCH", signed: signedBy(1, { epoch: 4 }) },
  { name: "a key nobody holds", reason: "UNKNOWN_WITNESS", signed: signedBy(9) },
  {
    name: "a removed witness",
    reason: "UNKNOWN_WITNESS",
    facts: factsOf({ registry: registryOf(2, [witnessOf(2), witnessOf(3)]) }),
  },
  {
    name: "the old key of a witness whose key was replaced",
    reason: "UNKNOWN_WITNESS",
    facts: factsOf({ registry: registryOf(1, [witnessOf(1, { publicKey: keyOf(11) })]) }),
  },
  {
    name: "a key to be enrolled by another proposal",
    reason: "UNKNOWN_WITNESS",
    signed: signedBy(4),
  },
  { name: "a malformed, small-order or non-canonical key", reason: "WEAK_KEY", signature: "weakKey" },
  { name: "a signature that fails", reason: "BAD_SIGNATURE", signature: "fails" },
  {
    name: "a possession statement whose signature fails",
    reason: "BAD_SIGNATURE",
    state: enrolling,
    signed: signedBy(4),
    signature: "fails",
  },
  {
    name: "a key enrolled at the proposal's own position",
    reason: "ENROLLED_LATER",
    facts: factsOf({ registry: late }),
  },
  {
    name: "a key enrolled after the proposal",
    reason: "ENROLLED_LATER",
    state: proposalOf({ position: 99n }),
    facts: factsOf({ registry: late }),
  },
  {
    name: "the proposer's own key",
    reason: "OWN_PROPOSAL",
    ...byWitness({}, { proposerKeys: [keyOf(8), keyOf(1)] }),
  },
  { name: "the proposer's own witness id", reason: "OWN_PROPOSAL", ...byWitness({ proposer: "W1" }) },
  {
    name: "the proposer as owner of the witness",
    reason: "OWN_PROPOSAL",
    ...byWitness({ proposer: "owner 1 " }),
  },
  {
    name: "a proposer that calls as the witness",
    reason: "OWN_PROPOSAL",
    ...byWitness({ proposer: "witness/w1" }),
  },
  { name: "the same statement again", reason: "REPLAYED", state: once },
  { name: "the same possession statement again", reason: "REPLAYED", state: possessed, signed: signedBy(4) },
  {
    name: "the same witness twice",
    reason: "ALREADY_ATTESTED",
    state: once,
    signed: signedBy(1, { statement: 1 }),
  },
  {
    name: "a witness that changes its mind",
    reason: "ALREADY_ATTESTED",
    state: once,
    signed: signedBy(1, { verdict: "reject", statement: 1 }),
  },
  {
    name: "possession shown twice",
    reason: "ALREADY_ATTESTED",
    state: possessed,
    signed: signedBy(4, { statement: 1 }),
  },
  {
    name: "a second witness id with the same key",
    reason: "SAME_KEY",
    state: once,
    facts: factsOf({ registry: oneKey }),
    signed: signedBy(1, { statement: 1 }),
  },
  {
    name: "a second witness of the same owner",
    reason: "SAME_OWNER",
    state: once,
    facts: factsOf({ registry: oneOwner }),
    signed: signedBy(2),
  },
  {
    name: "a rejection by a key that is only being enrolled",
    reason: "REJECT_BY_NEW_KEY",
    state: enrolling,
    signed: signedBy(4, { verdict: "reject" }),
  },
];

describe("an attestation", () => {
  for (const {
    name,
    reason,
    state = proposalOf(),
    facts = factsOf(),
    signed = signedBy(1),
    signature,
  } of refused) {
    it(`is refused: ${name}`, () => expect(reasonOf(state, facts, signed, signature)).to.equal(reason));
  }

  it("is refused for every reason there is, by this table", () => {
    const reasons = new Set(refused.map(({ reason }) => reason));
    const {
      quorumShort: _s,
      possessionMissing: _p,
      notProposer: _n,
      ended: _e,
      ...ofAttestations
    } = refusalRules;
    for (const reason of Object.keys(ofAttestations) as (keyof typeof ofAttestations)[]) {
      const name = wireReason({ kind: "refused", reason, rule: "" });
      expect(reasons.has(name), name).to.equal(true);
    }
  });

  it("is refused for the first rule it breaks, in the order of the specification", () => {
    const allWrong = signedBy(9, { origin: "o", proposal: "p", record: hashOf(1), epoch: 1 });
    const { state, facts } = {
      state: proposalOf({ status: "withdrawn" }),
      facts: factsOf({ nowMs: 2000, head: null }),
    };
    expect(reasonOf(state, facts, allWrong, "fails")).to.equal("PROPOSAL_WITHDRAWN");
    expect(reasonOf(proposalOf(), facts, allWrong, "fails")).to.equal("PROPOSAL_EXPIRED");
    expect(reasonOf(proposalOf(), factsOf({ head: null }), allWrong, "fails")).to.equal("STALE_BASE");
    expect(reasonOf(proposalOf(), factsOf(), allWrong, "fails")).to.equal("OTHER_ORIGIN");
    const steps = [
      ["OTHER_PROPOSAL", { proposal: "p", record: hashOf(1), epoch: 1 }],
      ["OTHER_BODY", { record: hashOf(1), epoch: 1 }],
      ["OTHER_EPOCH", { epoch: 1 }],
      ["UNKNOWN_WITNESS", {}],
    ] as const;
    for (const [reason, said] of steps) {
      expect(reasonOf(proposalOf(), factsOf(), signedBy(9, said), "fails")).to.equal(reason);
    }
    const lateProposer = factsOf({ registry: late, proposerKeys: [keyOf(1)] });
    expect(reasonOf(proposalOf(), lateProposer, signedBy(1), "fails")).to.equal("BAD_SIGNATURE");
    expect(reasonOf(proposalOf(), lateProposer, signedBy(1))).to.equal("ENROLLED_LATER");
    expect(reasonOf(once, factsOf({ proposerKeys: [keyOf(1)] }), signedBy(1))).to.equal("OWN_PROPOSAL");
  });

  it("is accepted one millisecond before expiry, on a base that is still the newest or still missing", () => {
    expect(reasonOf(proposalOf(), factsOf({ nowMs: 999 }), signedBy(1))).to.equal("accepted");
    expect(reasonOf(proposalOf({ base: null }), factsOf({ head: null }), signedBy(1))).to.equal("accepted");
    const before = registryOf(1, [witnessOf(1, { enrolledAt: 99n })]);
    expect(reasonOf(proposalOf(), factsOf({ registry: before }), signedBy(1))).to.equal("accepted");
  });

  it("is kept with its witness, key, owner, epoch, role and digest", () => {
    const signed = signedBy(2, { verdict: "reject" });
    const plan = planAttest(once, factsOf(), signed, "holds");
    expect(plan.kind === "accepted" && plan.given).to.deep.equal({
      witness: "w2",
      publicKey: keyOf(2),
      owner: "Owner 2",
      epoch: 3,
      role: "reject",
      digest: signed.digest,
    });
    expect(plan.kind === "accepted" && plan.state.given.length).to.equal(2);
    expect(once.given.length, "the state before is left alone").to.equal(1);
  });

  it("by the proposer is accepted where the quorum record allows it", () => {
    const registry = { ...twoOfThree, proposerMayAttest: true };
    const facts = factsOf({ registry, proposerKeys: [keyOf(1)] });
    expect(nextOf(proposalOf({ proposer: "w1" }), facts, signedBy(1))).to.equal("wait");
    expect(nextOf(attested(proposalOf(), facts, signedBy(1)), facts, signedBy(2))).to.equal("commit");
  });
});
