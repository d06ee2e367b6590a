/** The life of a proposal: what counts, when it commits, is rejected, withdrawn or due to end, and possession. */
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  canReachQuorum,
  dueEnding,
  findAttestingKey,
  isAwaited,
  isExpired,
  planCommit,
  planWithdraw,
  tally,
} from "../../../src/core/quorum/plan.ts";
import {
  attested,
  enrolling,
  factsOf,
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

describe("what waits for a witness", () => {
  it("is just what its statement would be accepted for", () => {
    const rejected = attested(proposalOf(), factsOf(), signedBy(2, { verdict: "reject" }));
    const late = registryOf(2, [witnessOf(1), witnessOf(2), witnessOf(3, { enrolledAt: 100n })]);
    const awaited: string[] = [];
    for (const [name, state, registry] of [
      ["new", proposalOf(), twoOfThree],
      ["once", once, twoOfThree],
      ["rejected", rejected, twoOfThree],
      ["own", proposalOf({ proposer: "w2" }), twoOfThree],
      ["key", proposalOf(), registryOf(2, [witnessOf(1), witnessOf(2, { publicKey: keyOf(77) })])],
      ["late", proposalOf(), late],
      ["owner", once, oneOwner],
      ["shared key", once, oneKey],
    ] as const) {
      const facts = factsOf({ registry });
      for (const number of [1, 2, 3, 4]) {
        const isAccepted = reasonOf(state, facts, signedBy(number, { statement: 7 })) === "accepted";
        const waits = isAwaited(state, registry, facts.proposerKeys, `w${number}`);
        expect(waits, `${name}, w${number}`).to.equal(isAccepted);
        if (waits) awaited.push(`${name} ${number}`);
      }
    }
    expect(awaited.slice(0, 5)).to.deep.equal(["new 1", "new 2", "new 3", "once 2", "once 3"]);
  });

  it("is the proof of a key that is not enrolled yet, until it is given", () => {
    expect(isAwaited(enrolling, twoOfThree, [], "w4")).to.equal(true);
    expect(isAwaited(possessed, twoOfThree, [], "w4")).to.equal(false);
    expect(isAwaited(proposalOf(), twoOfThree, [], "w4")).to.equal(false);
  });
});

describe("a proposal", () => {
  it("commits by itself at the k-th distinct witness", () => {
    expect(nextOf(proposalOf(), factsOf(), signedBy(1))).to.equal("wait");
    expect(nextOf(once, factsOf(), signedBy(3))).to.equal("commit");
  });

  it("waits for a commit of its own when it asks for one", () => {
    const separate = attested(proposalOf({ commit: "separate" }), factsOf(), signedBy(1), signedBy(2));
    expect(nextOf(separate, factsOf(), signedBy(3))).to.equal("wait");
    expect(planCommit(separate, factsOf())).to.deep.equal({ kind: "commit" });
  });

  it("is refused a commit below k, with the approvals still missing", () => {
    for (const [state, needed] of [
      [proposalOf(), 2],
      [once, 1],
    ] as const) {
      expect(planCommit(state, factsOf())).to.include({ kind: "refused", reason: "quorumShort", needed });
    }
  });

  it("answers a second commit as the first, and no commit of one that ended otherwise", () => {
    expect(planCommit(proposalOf({ status: "committed" }), factsOf())).to.deep.equal({ kind: "already" });
    const withdrawn = planCommit(proposalOf({ status: "withdrawn" }), factsOf());
    expect(withdrawn).to.include({ reason: "ended", outcome: "withdrawn" });
  });

  it("does not commit with k approvals once it expired or its base moved", () => {
    const ready = attested(proposalOf({ commit: "separate" }), factsOf(), signedBy(1), signedBy(2));
    expect(planCommit(ready, factsOf({ nowMs: 1000 }))).to.include({ reason: "expired" });
    expect(planCommit(ready, factsOf({ head: null }))).to.include({ reason: "staleBase" });
    expect(isExpired(ready, 999)).to.equal(false);
    expect(isExpired(ready, 1000)).to.equal(true);
  });

  it("never commits under k = 0, k above n, a fraction, NaN or no k at all, whoever approved", () => {
    const all = attested(
      proposalOf({ commit: "separate" }),
      factsOf(),
      signedBy(1),
      signedBy(2),
      signedBy(3),
    );
    for (const k of [0, -1, 4, 0.5, 2.5, NaN, Infinity, undefined as unknown as number]) {
      expect(planCommit(all, invalidQuorum(k)), String(k)).to.include({ reason: "quorumInvalid" });
      expect(tally(all, invalidQuorum(k).registry).needed, String(k)).to.be.greaterThan(0);
    }
    const nobody = factsOf({ registry: registryOf(0, []) });
    expect(planCommit(proposalOf(), nobody)).to.include({ reason: "quorumInvalid", needed: 1 });
  });

  it("must be attested anew after a change of epoch, by the same witnesses if they like", () => {
    const facts = factsOf({ registry: { ...twoOfThree, epoch: 4 } });
    const before = attested(proposalOf({ commit: "separate" }), factsOf(), signedBy(1), signedBy(2));
    expect(planCommit(before, facts)).to.include({ reason: "quorumShort", needed: 2 });
    const again = attested(before, facts, signedBy(1, { epoch: 4, statement: 1 }), signedBy(3, { epoch: 4 }));
    expect(planCommit(again, facts)).to.deep.equal({ kind: "commit" });
    expect(tally(again, facts.registry).approvedBy).to.deep.equal(["w1", "w3"]);
  });

  it("does not count a witness that was removed, replaced, enrolled later or turned out to be the proposer", () => {
    const state = attested(proposalOf(), factsOf(), signedBy(1), signedBy(2));
    const without = (but: Parameters<typeof witnessOf>[1]) =>
      tally(state, registryOf(2, [witnessOf(1, but), witnessOf(2)])).approvedBy;
    expect(without({})).to.deep.equal(["w1", "w2"]);
    expect(tally(state, registryOf(1, [witnessOf(2)])).approvedBy).to.deep.equal(["w2"]);
    expect(without({ publicKey: keyOf(11) })).to.deep.equal(["w2"]);
    expect(without({ enrolledAt: 100n })).to.deep.equal(["w2"]);
    expect(tally(state, twoOfThree, [keyOf(2)]).approvedBy).to.deep.equal(["w1"]);
    expect(planCommit(state, factsOf({ proposerKeys: [keyOf(2)] }))).to.include({ reason: "quorumShort" });
  });

  it("counts one key and one owner once, even when a registry holds them twice", () => {
    const state = attested(proposalOf(), factsOf(), signedBy(1), signedBy(2));
    for (const registry of [oneKey, oneOwner]) {
      const given = state.given.map((each) => ({
        ...each,
        publicKey: registry.witnesses.get(each.witness)?.publicKey ?? each.publicKey,
      }));
      expect(tally({ ...state, given }, registry).approvedBy).to.deep.equal(["w1"]);
    }
  });

  it("is rejected when approvals can no longer reach k, not before", () => {
    const facts = factsOf();
    const reject = (name: number) => signedBy(name, { verdict: "reject" });
    expect(nextOf(proposalOf(), facts, reject(1))).to.equal("wait");
    expect(nextOf(attested(proposalOf(), facts, reject(1)), facts, reject(2))).to.equal("reject");
    expect(nextOf(attested(proposalOf(), facts, reject(1), signedBy(2)), facts, reject(3))).to.equal(
      "reject",
    );
    // Only two of the three may attest when one of them proposed it.
    const own = factsOf({ proposerKeys: [keyOf(3)] });
    expect(nextOf(proposalOf(), own, reject(1))).to.equal("reject");
    const lateThird = registryOf(2, [witnessOf(1), witnessOf(2), witnessOf(3, { enrolledAt: 100n })]);
    expect(nextOf(proposalOf(), factsOf({ registry: lateThird }), reject(1))).to.equal("reject");
    const shared = registryOf(2, [witnessOf(1), witnessOf(2), witnessOf(3, { owner: "owner 2" })]);
    expect(nextOf(proposalOf(), factsOf({ registry: shared }), reject(1))).to.equal("reject");
  });

  it("says beforehand whether enough witnesses may attest it", () => {
    const all = { ...twoOfThree, k: 3 };
    expect(canReachQuorum(proposalOf(), all, [])).to.equal(true);
    expect(canReachQuorum(proposalOf(), all, [keyOf(1)])).to.equal(false);
    expect(canReachQuorum(proposalOf({ proposer: "w1" }), all, [])).to.equal(false);
    expect(nextOf(proposalOf({ proposer: "w1" }), factsOf({ registry: all }), signedBy(2))).to.equal("wait");
  });

  it("is withdrawn by its proposer or by Root, once, while open", () => {
    const alice = { principal: "alice", mayForOthers: false };
    const withdrawn = proposalOf({ status: "withdrawn" });
    expect(planWithdraw(proposalOf(), factsOf(), alice)).to.deep.equal({ kind: "withdraw" });
    expect(planWithdraw(proposalOf(), factsOf(), { principal: "root", mayForOthers: true }).kind).to.equal(
      "withdraw",
    );
    expect(planWithdraw(proposalOf(), factsOf({ head: null }), alice).kind).to.equal("withdraw");
    expect(planWithdraw(withdrawn, factsOf(), alice)).to.deep.equal({ kind: "already" });
    for (const principal of ["bob", "Alice", ""]) {
      const bob = planWithdraw(proposalOf(), factsOf(), { principal, mayForOthers: false });
      expect(bob).to.include({ reason: "notProposer" });
    }
    expect(planWithdraw(proposalOf(), factsOf({ nowMs: 1000 }), alice)).to.include({ reason: "expired" });
    const committed = planWithdraw(proposalOf({ status: "committed" }), factsOf(), alice);
    expect(committed).to.include({ reason: "ended", outcome: "committed" });
  });

  it("is due to end as expired or superseded, in that order, while no record says so", () => {
    expect(dueEnding(proposalOf(), factsOf())).to.equal(null);
    expect(dueEnding(proposalOf(), factsOf({ nowMs: 1000, head: null }))).to.equal("expired");
    expect(dueEnding(proposalOf(), factsOf({ head: null }))).to.equal("superseded");
    expect(dueEnding(proposalOf({ status: "withdrawn" }), factsOf({ head: null }))).to.equal(null);
  });
});

describe("possession of a key to be enrolled", () => {
  it("is asked for beside k approvals, before or after them, and counts towards none", () => {
    expect(tally(possessed, twoOfThree)).to.deep.equal({
      approvedBy: [],
      rejectedBy: [],
      needed: 2,
      possession: "given",
    });
    expect(nextOf(attested(possessed, factsOf(), signedBy(1)), factsOf(), signedBy(2))).to.equal("commit");
    const approved = attested(enrolling, factsOf(), signedBy(1), signedBy(2));
    expect(planCommit(approved, factsOf())).to.include({ reason: "possessionMissing", needed: 0 });
    expect(nextOf(approved, factsOf(), signedBy(4))).to.equal("commit");
  });

  it("counts towards none even where the same key is enrolled by now", () => {
    const enrolled = registryOf(1, [witnessOf(4)]);
    expect(tally(possessed, enrolled)).to.include({ needed: 1, possession: "given" });
    expect(tally(possessed, enrolled).approvedBy).to.deep.equal([]);
  });

  it("is shown again in a new epoch", () => {
    const facts = factsOf({ registry: { ...twoOfThree, epoch: 4 } });
    expect(tally(possessed, facts.registry).possession).to.equal("missing");
    expect(reasonOf(possessed, facts, signedBy(4))).to.equal("OTHER_EPOCH");
    const again = attested(possessed, facts, signedBy(4, { epoch: 4, statement: 1 }));
    expect(tally(again, facts.registry).possession).to.equal("given");
  });

  it("of a replaced key leaves the vote with the old key", () => {
    const replacing = proposalOf({ enrols: { witness: "w1", publicKey: keyOf(4) } });
    const state = attested(replacing, factsOf(), signedBy(4), signedBy(1));
    expect(tally(state, twoOfThree)).to.include({ needed: 1, possession: "given" });
    expect(findAttestingKey(replacing, twoOfThree, signedBy(1).kid)).to.include({ kind: "witness" });
    expect(findAttestingKey(replacing, twoOfThree, signedBy(4).kid)).to.deep.equal({
      kind: "possession",
      witness: "w1",
      publicKey: keyOf(4),
    });
    expect(findAttestingKey(proposalOf(), twoOfThree, signedBy(4).kid)).to.deep.equal({ kind: "unknown" });
  });

  it("is shown also by who proposed its own enrolment", () => {
    const self = proposalOf({ proposer: "w4", enrols: { witness: "w4", publicKey: keyOf(4) } });
    expect(reasonOf(self, factsOf({ proposerKeys: [keyOf(4)] }), signedBy(4))).to.equal("accepted");
  });
});
