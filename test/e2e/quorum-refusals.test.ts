/**
 * Everything that must not count, over the wire: each with its code and its own reason, and the proposal none the
 * worse.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { ProposalState, type Proposal, type SigilError } from "@sigil/client";
import { attestationToSign, formatAttestationStatement } from "../../src/core/quorum/statement.ts";
import { parseHash, parsePublicKey } from "../../src/core/bytes.ts";
import { Council, json, newKey, rawKey, tombstone } from "./council.ts";
import { origin } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";
import { attest } from "./witness.ts";

const { PROPOSAL_STATE_OPEN: OPEN } = ProposalState;

const expectRefused = async (
  call: Promise<unknown>,
  codeName: string,
  reason: string,
): Promise<SigilError> => {
  const refused = await refusalOf(call);
  expect({ codeName: refused.codeName, reason: refused.reason }).to.deep.equal({ codeName, reason });
  return refused;
};

describe("e2e_quorum_pass_fail refuses", () => {
  let council: Council;
  let aheadMs = 0;
  const clock = { nowMs: () => Date.now() + aheadMs };
  before(async () => {
    council = await Council.open({}, { overrides: { clock } });
  });
  after(() => council[Symbol.asyncDispose]());

  const expectState = async (proposal: Proposal, state: ProposalState, approvedBy: readonly string[] = []) =>
    expect(await council.now(proposal)).to.deep.include({ state, approvedBy });

  it("the same witness twice, whatever it says the second time", async () => {
    const proposal = await council.proposeAny();
    await council.attest(proposal, "ann");
    for (const verdict of ["approve", "reject"] as const) {
      // The same words again are the same bytes: Ed25519 signatures are deterministic.
      const reason = verdict === "approve" ? "REPLAYED" : "ALREADY_ATTESTED";
      await expectRefused(council.attest(proposal, "ann", { verdict }), "ALREADY_EXISTS", reason);
    }
    await expectState(proposal, OPEN, ["ann"]);
    expect((await council.now(proposal)).attestations).to.have.lengthOf(1);
  });

  it("a statement of one proposal brought to another", async () => {
    const [one, other] = [await council.proposeAny(), await council.proposeAny()];
    const statement = attest(one, council.key("ann"));
    await council.send(one, statement);
    await expectRefused(council.send(other, statement), "FAILED_PRECONDITION", "OTHER_PROPOSAL");
    await expectState(other, OPEN);
  });

  const said = [
    ["another proposal", "OTHER_PROPOSAL", { proposal: "proposal/01890000-0000-7000-8000-000000000000" }],
    ["another body", "OTHER_BODY", { record: parseHash(new Uint8Array(32)) }],
    ["a later epoch", "OTHER_EPOCH", { epoch: 1_000_000 }],
    ["an earlier epoch", "OTHER_EPOCH", { epoch: 0 }],
    ["another origin", "OTHER_ORIGIN", { origin: "elsewhere.test" }],
  ] as const;
  for (const [name, reason, changes] of said) {
    it(`a statement about ${name}`, async () => {
      const proposal = await council.proposeAny();
      await expectRefused(council.attest(proposal, "ann", changes), "FAILED_PRECONDITION", reason);
      await expectState(proposal, OPEN);
    });
  }

  it("a statement by a key that nobody enrolled, and one under another's name", async () => {
    const proposal = await council.proposeAny();
    await expectRefused(council.attest(proposal, newKey()), "PERMISSION_DENIED", "UNKNOWN_WITNESS");
    const attestation = {
      proposal: proposal.id,
      record: parseHash(proposal.recordHash),
      epoch: Number(proposal.epoch),
      verdict: "approve",
    } as const;
    const publicKey = parsePublicKey(rawKey(council.key("ann")));
    const anns = attestationToSign(attestation, { origin, publicKey });
    const bens = attest(proposal, council.key("ben"));
    const forged = formatAttestationStatement(anns, bens.subarray(-64));
    await expectRefused(council.send(proposal, forged), "PERMISSION_DENIED", "BAD_SIGNATURE");
    await expectState(proposal, OPEN);
  });

  it("bytes that are no statement, too many of them, and an id that is no proposal's", async () => {
    const proposal = await council.proposeAny();
    const good = attest(proposal, council.key("ann"));
    for (const bytes of [[], [0], good.subarray(0, -1), [...good, 0], new Uint8Array(4097)]) {
      const refused = await refusalOf(council.send(proposal, Uint8Array.from(bytes)));
      expect(refused.codeName, `${bytes.length} bytes`).to.equal("INVALID_ARGUMENT");
    }
    for (const id of ["proposal/01890000-0000-7000-8000-000000000000", "schema/any-1", "quorum"]) {
      expect((await refusalOf(council.send({ id }, good))).codeName).to.equal("NOT_FOUND");
      expect((await refusalOf(council.commit({ id }))).codeName).to.equal("NOT_FOUND");
    }
    await expectState(proposal, OPEN);
  });

  it("the word of a proposer who holds a witness's key, and counts it not even with k others' help", async () => {
    const ann = council.key("ann");
    const payload = {
      public_keys: [Buffer.from(rawKey(ann)).toString("base64")],
      loa: "mentor",
      tenant: "acme",
    };
    const enrolling = await council.propose({
      id: "principal/anna",
      content: json({ ...payload, active: true }),
    });
    await council.approve(enrolling, "ben", "cyd");
    const proposal = await council.proposeAny({}, council.served.by("anna", ann));
    expect(proposal.proposer).to.equal("anna");
    await expectRefused(council.attest(proposal, "ann"), "PERMISSION_DENIED", "OWN_PROPOSAL");
    await council.attest(proposal, "ben");
    await expectState(proposal, OPEN, ["ben"]);
    expect((await refusalOf(council.commit(proposal))).facts).to.include({ needed: "1" });
    expect((await council.attest(proposal, "cyd")).proposal?.state).to.equal(
      ProposalState.PROPOSAL_STATE_COMMITTED,
    );
  });

  it("a proposal that can never be committed: k of k, and one of them is its proposer", async () => {
    await using pair = await Council.open({ witnesses: ["ann", "ben"], k: 2 });
    const ann = pair.key("ann");
    const payload = {
      public_keys: [Buffer.from(rawKey(ann)).toString("base64")],
      loa: "mentor",
      tenant: "acme",
    };
    const content = json({ ...payload, active: true });
    await pair.approve(await pair.propose({ id: "principal/anna", content }), "ann", "ben");
    const hopeless = pair.proposeAny({}, pair.served.by("anna", ann));
    await expectRefused(hopeless, "FAILED_PRECONDITION", "QUORUM_UNREACHABLE");
  });

  it("approvals once rejections keep k out of reach", async () => {
    const proposal = await council.proposeAny();
    await council.attest(proposal, "ann");
    const first = await council.attest(proposal, "ben", { verdict: "reject" });
    expect(first.proposal).to.deep.include({ state: OPEN, approvedBy: ["ann"], rejectedBy: ["ben"] });
    const second = await council.attest(proposal, "cyd", { verdict: "reject" });
    expect(second.proposal).to.include({
      state: ProposalState.PROPOSAL_STATE_REJECTED,
      endingReason: "k cannot be reached",
    });
    await expectRefused(council.attest(proposal, "ben"), "FAILED_PRECONDITION", "PROPOSAL_REJECTED");
    await expectRefused(council.commit(proposal), "FAILED_PRECONDITION", "PROPOSAL_REJECTED");
    // One rejection alone keeps nobody from reaching k.
    const other = await council.proposeAny();
    await council.attest(other, "ann", { verdict: "reject" });
    const committed = await council.approve(other, "ben", "cyd");
    expect(committed.state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
  });

  it("whatever comes at or after the moment a proposal expires", async () => {
    const proposal = await council.proposeAny({ lifetimeSeconds: 20 });
    await council.attest(proposal, "ann");
    aheadMs += 20_001;
    await expectState(proposal, ProposalState.PROPOSAL_STATE_EXPIRED);
    await expectRefused(council.attest(proposal, "ben"), "FAILED_PRECONDITION", "PROPOSAL_EXPIRED");
    await expectRefused(council.commit(proposal), "FAILED_PRECONDITION", "PROPOSAL_EXPIRED");
    const withdrawing = council.as("mentor").canon.withdrawProposal({ id: proposal.id });
    await expectRefused(withdrawing, "FAILED_PRECONDITION", "PROPOSAL_EXPIRED");
    const ended = await council.now(proposal);
    expect(ended).to.include({
      state: ProposalState.PROPOSAL_STATE_EXPIRED,
      endingReason: "its time ran out",
    });
    expect(ended.attestations.map(({ counts }) => counts)).to.deep.equal([false]);
  });

  it("a withdrawal by anybody but the proposer or Root of system, and everything after one", async () => {
    const roots = await council.proposeAny({}, council.as("root"));
    const withdraw = (level: "operator" | "mentor" | "root", { id }: Proposal) =>
      council.as(level).canon.withdrawProposal({ id, reason: "a mistake" });
    await expectRefused(withdraw("operator", roots), "PERMISSION_DENIED", "LEVEL_TOO_LOW");
    await expectRefused(withdraw("mentor", roots), "FAILED_PRECONDITION", "NOT_PROPOSER");
    await expectState(roots, OPEN);
    const mentors = await council.proposeAny();
    await council.attest(mentors, "ann");
    const other = await council.proposeAny();
    for (const proposal of [mentors, other]) {
      const { proposal: ended } = await withdraw(proposal === other ? "mentor" : "root", proposal);
      const state = ProposalState.PROPOSAL_STATE_WITHDRAWN;
      expect(ended).to.include({ state, endingReason: "a mistake" });
      expect((await withdraw("mentor", proposal)).proposal).to.deep.equal(ended);
      await expectRefused(council.attest(proposal, "ben"), "FAILED_PRECONDITION", "PROPOSAL_WITHDRAWN");
      await expectRefused(council.commit(proposal), "FAILED_PRECONDITION", "PROPOSAL_WITHDRAWN");
    }
    const committed = await council.approve(await council.proposeAny(), "ann", "ben");
    await expectRefused(withdraw("mentor", committed), "FAILED_PRECONDITION", "PROPOSAL_COMMITTED");
    await expectRefused(council.attest(committed, "cyd"), "FAILED_PRECONDITION", "PROPOSAL_COMMITTED");
  });

  it("the other of two proposals about one record, once one is committed", async () => {
    const asked = { id: "schema/both", content: json({ kind: "both", schema: {} }) };
    const [one, other] = [await council.propose(asked), await council.propose(asked)];
    await council.attest(other, "ann");
    await council.approve(one, "ann", "ben");
    await expectState(one, ProposalState.PROPOSAL_STATE_COMMITTED);
    const superseded = await council.now(other);
    expect(superseded.state).to.equal(ProposalState.PROPOSAL_STATE_SUPERSEDED);
    expect(superseded.endingReason).to.equal(`${one.id} was committed`);
    await expectRefused(council.attest(other, "ben"), "FAILED_PRECONDITION", "PROPOSAL_SUPERSEDED");
    await expectRefused(council.commit(other), "FAILED_PRECONDITION", "PROPOSAL_SUPERSEDED");
  });

  it("a proposal whose base is stale, when it is made and when it is attested", async () => {
    const asked = { id: "schema/stale", content: json({ kind: "stale", schema: {} }) };
    const first = await council.approve(
      await council.propose({ ...asked, expectedVersion: 0n }),
      "ann",
      "ben",
    );
    expect(first.state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
    for (const expectedVersion of [0n, 2n]) {
      const refused = await refusalOf(council.propose({ ...asked, expectedVersion }));
      expect(refused).to.include({ codeName: "ABORTED", reason: "STALE_VERSION" });
      expect(refused.facts).to.include({ version: "1" });
    }
    const proposal = await council.propose({ ...asked, expectedVersion: 1n });
    await council.attest(proposal, "ann");
    // A version that came about without any proposal of ours.
    const { ledger } = council.served.server;
    const { body, hash } = (await ledger.reader.readId("system", "system", "schema/stale")) ?? expect.fail();
    await ledger.append([{ ...body, ts: body.ts + 1, links: [], prev: hash }]);
    await expectRefused(council.attest(proposal, "ben"), "FAILED_PRECONDITION", "STALE_BASE");
    await expectState(proposal, ProposalState.PROPOSAL_STATE_SUPERSEDED);
    await expectRefused(council.commit(proposal), "FAILED_PRECONDITION", "PROPOSAL_SUPERSEDED");
  });

  it("a tombstone of what is not there, or of the trust model", async () => {
    const none = await refusalOf(council.propose({ id: "module/none", content: tombstone }));
    expect(none.codeName).to.equal("NOT_FOUND");
    const model = await refusalOf(council.propose({ id: "trust_model/active", content: tombstone }));
    expect(model.codeName).to.equal("INVALID_ARGUMENT");
    expect(model.fieldViolations.map(({ field }) => field)).to.deep.equal(["tombstone"]);
  });

  it("proposing, committing and reading to those below their level", async () => {
    const proposal = await council.proposeAny();
    const asked = { id: "schema/low", content: json({ kind: "low", schema: {} }) };
    for (const level of ["guest", "observer", "operator"] as const) {
      const refused = await refusalOf(council.propose(asked, council.as(level)));
      expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
      await expectRefused(council.commit(proposal, council.as(level)), "PERMISSION_DENIED", "LEVEL_TOO_LOW");
    }
    const reading = council.as("guest").canon.getProposal({ id: proposal.id });
    await expectRefused(reading, "PERMISSION_DENIED", "LEVEL_TOO_LOW");
  });
});
