/**
 * Proposals as they are listed, repeated and remembered: open ones first, pages that cannot be bent, nothing lost by a
 * restart.
 */
import { expect } from "chai";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import {
  ProposalState,
  SigilError,
  type Proposal,
  type ProposeRecordRequest,
  type SigilConnection,
} from "@sigil/client";
import { toHex } from "../../src/core/bytes.ts";
import { attributeBytesMax, attributesMax } from "../../src/core/limits.ts";
import { openProposalsPerCallerMax } from "../../src/limits.ts";
import { Council, json, newKey, rawKey, tombstone } from "./council.ts";
import { refusalOf } from "./refusal.ts";

const { PROPOSAL_STATE_OPEN: OPEN, PROPOSAL_STATE_COMMITTED: COMMITTED } = ProposalState;

type Listing = Parameters<SigilConnection["canon"]["listProposals"]>[0];

const plainPrincipal = { public_keys: [], loa: "observer", tenant: "acme", active: true };

const idsOf = (proposals: readonly Proposal[]) => proposals.map(({ id }) => id);

describe("listing proposals", () => {
  let council: Council;
  let aheadMs = 0;
  /** Two open, then one of every end, then one open again; in the order they were made. */
  let made: readonly Proposal[];

  before(async () => {
    council = await Council.open({}, { overrides: { clock: { nowMs: () => Date.now() + aheadMs } } });
    const [first, second] = [await council.proposeAny(), await council.proposeAny()];
    const committed = await council.approve(await council.proposeAny(), "ann", "ben");
    const rejected = await council.proposeAny();
    for (const witness of ["ann", "ben"]) await council.attest(rejected, witness, { verdict: "reject" });
    const withdrawn = await council.proposeAny();
    await council.as("mentor").canon.withdrawProposal({ id: withdrawn.id });
    const expired = await council.proposeAny({ lifetimeSeconds: 10 });
    const last = await council.proposeAny();
    aheadMs += 10_001;
    await council.attest(second, "ann");
    made = [first, second, committed, rejected, withdrawn, expired, last];
  });
  after(() => council[Symbol.asyncDispose]());

  const list = (asked: Listing, by = council.as("observer")) => by.canon.listProposals(asked);
  const idsAt = (...indexes: readonly number[]) => indexes.map((index) => made[index]?.id);
  const pages = async (asked: Listing) => {
    const sizes: number[] = [];
    const found: string[] = [];
    for (let pageToken = ""; ;) {
      const page = await list({ ...asked, pageToken });
      sizes.push(page.proposals.length);
      found.push(...idsOf(page.proposals));
      pageToken = page.nextPageToken;
      if (pageToken === "") return { found, sizes };
    }
  };

  it("gives the open ones first, also before one that expired unnoticed, each newest first", async () => {
    const { proposals, nextPageToken } = await list({});
    expect(idsOf(proposals)).to.deep.equal(idsAt(6, 1, 0, 5, 4, 3, 2));
    expect(nextPageToken).to.equal("");
    expect(proposals.map(({ state }) => state)).to.deep.equal([
      OPEN,
      OPEN,
      OPEN,
      ProposalState.PROPOSAL_STATE_EXPIRED,
      ProposalState.PROPOSAL_STATE_WITHDRAWN,
      ProposalState.PROPOSAL_STATE_REJECTED,
      COMMITTED,
    ]);
  });

  it("gives those in one state, about one record, or waiting for one witness", async () => {
    const states = [
      [OPEN, [6, 1, 0]],
      [COMMITTED, [2]],
      [ProposalState.PROPOSAL_STATE_REJECTED, [3]],
      [ProposalState.PROPOSAL_STATE_WITHDRAWN, [4]],
      [ProposalState.PROPOSAL_STATE_EXPIRED, [5]],
      [ProposalState.PROPOSAL_STATE_SUPERSEDED, []],
    ] as const;
    for (const [state, indexes] of states) {
      expect(idsOf((await list({ state })).proposals)).to.deep.equal(idsAt(...indexes));
    }
    const { recordId = "" } = made[3] ?? {};
    expect(idsOf((await list({ recordId })).proposals)).to.deep.equal(idsAt(3));
    const waiting = async (witness: string) => idsOf((await list({ waitingForWitness: witness })).proposals);
    expect(await waiting("ann")).to.deep.equal(idsAt(6, 0));
    expect(await waiting("cyd")).to.deep.equal(idsAt(6, 1, 0));
  });

  it("pages through all of them, of whatever size", async () => {
    for (const pageSize of [1, 2, 3, 4, 7, 1000]) {
      const { found, sizes } = await pages({ pageSize });
      expect(found, `pages of ${pageSize}`).to.deep.equal(idsAt(6, 1, 0, 5, 4, 3, 2));
      expect(Math.max(...sizes)).to.be.at.most(pageSize);
    }
    expect((await pages({ pageSize: 1, state: COMMITTED })).found).to.deep.equal(idsAt(2));
  });

  it("names as waiting for a witness what it may still sign, and nothing else", async () => {
    await using other = await Council.open();
    const waiting = async (witness: string) =>
      idsOf((await list({ waitingForWitness: witness }, other.as("observer"))).proposals);
    const before = await other.proposeAny();
    const refused = await refusalOf(waiting("dan"));
    expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["waiting_for_witness"]);
    const key = newKey();
    const value = { id: "dan", publicKey: rawKey(key), owner: "Dan" };
    const enrolling = await other.proposeChange({ $case: "add", value });
    expect(await waiting("dan")).to.deep.equal([enrolling.id]);
    await other.attest(enrolling, key);
    expect(await waiting("dan")).to.deep.equal([]);
    await other.approve(enrolling, "ann", "ben");
    const after = await other.proposeAny();
    // Enrolled after the first: it may sign only what came later.
    expect(await waiting("dan")).to.deep.equal([after.id]);
    expect(await waiting("ann")).to.deep.equal([after.id, before.id]);
    await other.attest(after, "ann", { verdict: "reject" });
    expect(await waiting("ann")).to.deep.equal([before.id]);
    const replacing = { $case: "replace", value: { id: "ann", publicKey: rawKey(newKey()) } } as const;
    const replaced = await other.proposeChange(replacing);
    await other.attest(replaced, "ann");
    expect(await waiting("ann"), "the new key is still to sign").to.deep.equal([replaced.id, before.id]);
  });

  it("refuses a page token that is altered, another caller's, or of another listing", async () => {
    const asked = { pageSize: 2 };
    const { nextPageToken: pageToken } = await list(asked);
    const altered = `${pageToken.startsWith("A") ? "B" : "A"}${pageToken.slice(1)}`;
    const wrong = [
      () => list({ ...asked, pageToken: altered }),
      () => list({ ...asked, pageToken: pageToken.slice(0, -2) }),
      () => list({ ...asked, pageToken }, council.as("operator")),
      () => list({ ...asked, pageToken, state: OPEN }),
      () => list({ ...asked, pageToken, waitingForWitness: "ann" }),
      () => list({ ...asked, pageToken, recordId: "quorum" }),
      () => council.as("observer").canon.listRecords({ pageToken }),
    ];
    for (const call of wrong) {
      const refused = await refusalOf(call());
      expect(refused).to.include({ codeName: "INVALID_ARGUMENT", reason: "INVALID_PAGE_TOKEN" });
    }
    for (const pageSize of [1001, 4_000_000_000]) {
      expect((await refusalOf(list({ pageSize }))).codeName).to.equal("INVALID_ARGUMENT");
    }
  });

  it("shows proposals made before its first page and none made during it", async () => {
    const first = await list({ pageSize: 2 });
    const newer = await council.proposeAny();
    const rest = await list({ pageSize: 100, pageToken: first.nextPageToken });
    const all = [...idsOf(first.proposals), ...idsOf(rest.proposals)];
    expect(all).to.deep.equal(idsAt(6, 1, 0, 5, 4, 3, 2));
    await council.as("mentor").canon.withdrawProposal({ id: newer.id });
  });
});

describe("a proposal", () => {
  let council: Council;
  beforeEach(async () => {
    council = await Council.open();
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const asked = { id: "schema/x", content: json({ kind: "x", schema: {} }), idempotencyKey: "k1" };
  const countOf = async () => (await council.as("observer").canon.listProposals({})).proposals.length;

  it("is made once for its idempotency key, also when asked for many times at once", async () => {
    const asMentor = council.as("mentor");
    const answers = await Promise.all(Array.from({ length: 8 }, () => asMentor.canon.proposeRecord(asked)));
    expect(new Set(answers.map(({ proposal }) => proposal?.id)).size).to.equal(1);
    expect(new Set(answers.map(({ auditId }) => auditId)).size).to.equal(1);
    expect(answers[0]?.auditId).to.not.equal("");
    const others = {
      content: json({ kind: "x", schema: { type: "object" } }),
      reason: "another",
      lifetimeSeconds: 60,
      separateCommit: true,
      expectedVersion: 0n,
    } satisfies Omit<ProposeRecordRequest, "id" | "idempotencyKey">;
    for (const [field, value] of Object.entries(others)) {
      const other = await refusalOf(asMentor.canon.proposeRecord({ ...asked, [field]: value }));
      expect(other, field).to.include({ codeName: "ALREADY_EXISTS", reason: "IDEMPOTENCY_CONFLICT" });
    }
    const ending = { id: "principal/observer", content: tombstone, idempotencyKey: "k2" };
    await council.propose(ending);
    const another = await refusalOf(asMentor.canon.proposeRecord({ ...ending, id: "principal/operator" }));
    expect(another.reason, "id").to.equal("IDEMPOTENCY_CONFLICT");
    // A key is its caller's own.
    await council.propose(asked, council.as("root"));
    expect(await countOf()).to.equal(3);
    await council.restart();
    const again = await council.as("mentor").canon.proposeRecord(asked);
    expect(again).to.deep.equal(answers[0]);
  });

  it("of the registry is made once for its idempotency key as well", async () => {
    const change = { $case: "quorum", value: { k: 3 } } as const;
    const first = await council.proposeChange(change, { idempotencyKey: "k1" });
    expect((await council.proposeChange(change, { idempotencyKey: "k1" })).id).to.equal(first.id);
    const others = [
      [{ $case: "quorum", value: { k: 1 } }, {}],
      [{ $case: "quorum", value: { k: 3, proposerMayAttest: true } }, {}],
      [{ $case: "remove", value: { id: "ann" } }, {}],
      [change, { reason: "another" }],
      [change, { lifetimeSeconds: 60 }],
      [change, { separateCommit: true }],
    ] as const;
    for (const [other, put] of others) {
      const refused = await refusalOf(council.proposeChange(other, { ...put, idempotencyKey: "k1" }));
      expect(refused.reason, JSON.stringify(put)).to.equal("IDEMPOTENCY_CONFLICT");
    }
    const replace = { id: "ann", publicKey: rawKey(newKey()) };
    const one = await council.proposeChange({ $case: "replace", value: replace }, { idempotencyKey: "k2" });
    const two = await council.proposeChange({ $case: "replace", value: replace }, { idempotencyKey: "k2" });
    expect(two.id).to.equal(one.id);
    expect(await countOf()).to.equal(2);
  });

  it("is one of so many of its proposer's, also when all are made at once", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: openProposalsPerCallerMax + 6 }, (_, index) =>
        council.propose({ id: `principal/p${index}`, content: json(plainPrincipal) }).then(
          () => "open",
          (error: unknown) => SigilError.from(error).reason,
        ),
      ),
    );
    const refused = outcomes.filter((outcome) => outcome !== "open");
    expect(refused).to.deep.equal(Array.from({ length: 6 }, () => "PROPOSALS_PER_CALLER"));
    const { proposals } = await council.as("observer").canon.listProposals({ pageSize: 1000 });
    expect(proposals).to.have.length(openProposalsPerCallerMax);
  });

  it("is on one page, where what there is does not fit one reply", async () => {
    const texts = Array.from(
      { length: attributesMax },
      (_, index) => `${"x".repeat(attributeBytesMax - 2)}${index}`,
    );
    const attributes = Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`a${index}`, texts]));
    const ids: string[] = [];
    for (let index = 0; index < 6; index += 1) {
      const content = json({ ...plainPrincipal, attributes });
      ids.unshift((await council.propose({ id: `principal/p${index}`, content })).id);
    }
    const pages: (readonly string[])[] = [];
    let pageToken = "";
    do {
      const page = await council.as("observer").canon.listProposals({ pageSize: 1000, pageToken });
      pages.push(idsOf(page.proposals));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages.length).to.be.greaterThan(1);
    expect(pages.flat()).to.deep.equal(ids);
  });

  it("shows the record it would replace, and the bytes and hash to sign", async () => {
    const proposal = await council.propose(asked);
    expect((await council.as("observer").canon.getProposal({ id: proposal.id })).current).to.equal(undefined);
    expect(proposal).to.include({
      proposer: "mentor",
      recordId: "schema/x",
      kind: "schema",
      origin: "sigil.test",
      epoch: 1n,
    });
    expect(proposal.base).to.have.lengthOf(0);
    await council.approve(proposal, "ann", "ben");
    const next = await council.propose({
      ...asked,
      idempotencyKey: "",
      content: json({ kind: "x", schema: { type: "object" } }),
    });
    const { current } = await council.as("observer").canon.getProposal({ id: next.id });
    expect(current?.version).to.equal(1n);
    expect(toHex(next.base)).to.equal(toHex(proposal.recordHash));
  });

  it("survives a restart with its attestations, and everything that came of others does too", async () => {
    const open = await council.proposeAny({ reason: "for later" });
    await council.attest(open, "ann");
    const separate = await council.approve(await council.proposeAny({ separateCommit: true }), "ann", "ben");
    const rejected = await council.proposeAny();
    for (const witness of ["ann", "ben"]) await council.attest(rejected, witness, { verdict: "reject" });
    const enrolled = await council.proposeAny({ id: "schema/x", content: asked.content });
    await council.approve(enrolled, "ann", "cyd");
    const all = [open, separate, rejected, enrolled];
    const before = await Promise.all(all.map((proposal) => council.now(proposal)));
    const record = await council.commit(enrolled);

    await council.restart();
    expect(await Promise.all(all.map((proposal) => council.now(proposal)))).to.deep.equal(before);
    expect(await council.commit(enrolled)).to.deep.equal(record);
    expect((await refusalOf(council.attest(open, "ann"))).reason).to.equal("REPLAYED");
    expect((await council.attest(open, "ben")).proposal?.state).to.equal(COMMITTED);
    expect((await council.commit(separate)).proposal?.state).to.equal(COMMITTED);
    expect((await refusalOf(council.attest(rejected, "cyd"))).reason).to.equal("PROPOSAL_REJECTED");
    const { attestedBy } = await council.as("observer").canon.getSystemRecord({ id: open.recordId });
    expect(attestedBy).to.deep.equal(["ann", "ben"]);
  });

  it("is still among the open ones after a restart: listed, waited for, and superseded by another's commit", async () => {
    const { idempotencyKey: _, ...unkeyed } = asked;
    const [one, other] = [await council.propose(unkeyed), await council.propose(unkeyed)];
    await council.attest(one, "ann");
    await council.restart();
    const listed = async (listing: Listing) =>
      idsOf((await council.as("observer").canon.listProposals(listing)).proposals);
    expect(await listed({ state: OPEN })).to.deep.equal([other.id, one.id]);
    expect(await listed({ waitingForWitness: "ann" })).to.deep.equal([other.id]);
    expect((await council.attest(one, "ben")).proposal?.state).to.equal(COMMITTED);
    expect((await council.now(other)).endingReason).to.equal(`${one.id} was committed`);
    expect(await listed({ state: OPEN })).to.deep.equal([]);
  });

  it("counts the registry of after a restart: new keys, old epochs and removed witnesses alike", async () => {
    const open = await council.proposeAny({ separateCommit: true });
    await council.approve(open, "ann", "ben");
    await council.enrol("dan", "ann", "ben");
    const removing = await council.proposeChange({ $case: "remove", value: { id: "ann", k: 2 } });
    await council.approve(removing, "ben", "dan");
    await council.restart();
    const { quorum } = await council.as("guest").witness.getQuorum({});
    expect(quorum).to.include({ k: 2, n: 3, epoch: 3n });
    const now = await council.now(open);
    expect(now).to.deep.include({ state: OPEN, approvedBy: [], approvalsNeeded: 2 });
    expect((await refusalOf(council.attest(now, "ann"))).reason).to.equal("UNKNOWN_WITNESS");
    expect((await refusalOf(council.attest(now, "dan"))).reason).to.equal("ENROLLED_LATER");
    await council.approve(now, "ben", "cyd");
    await council.commit(open);
    expect((await council.approve(await council.proposeAny(), "dan", "cyd")).state).to.equal(COMMITTED);
    const left = council.served.by("witness/ann", council.key("ann"));
    expect((await refusalOf(left.canon.listProposals({}))).codeName).to.equal("UNAUTHENTICATED");
  });
});
