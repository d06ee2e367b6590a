/**
 * The last approvals of proposals on a bad day: many at the same instant, a store that fails at any step, a server that
 * dies. Whatever happens, every attestation that was answered is kept, and each proposal is committed exactly once.
 */
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { ProposalState, proposalStateToJSON, type Proposal } from "@sigil/client";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { unhurriedModel } from "../e2e/canon-writes.ts";
import { Council } from "../e2e/council.ts";
import type { ServeOptions } from "../e2e/deployment.ts";
import { refusalOf } from "../e2e/refusal.ts";
import { untilStatus } from "../contract/memory-ledger.ts";
import { createFaultyStore, type Fault, type FaultyStore } from "../contract/faulty-store.ts";

const { PROPOSAL_STATE_OPEN: OPEN, PROPOSAL_STATE_COMMITTED: COMMITTED } = ProposalState;

/** What a call ended with: its proposal's state, or why it was refused. */
const outcomeOf = async (call: Promise<{ readonly proposal?: Proposal | undefined }>): Promise<string> => {
  const [answer] = await Promise.allSettled([call]);
  if (answer.status === "fulfilled") return proposalStateToJSON(answer.value.proposal?.state ?? 0);
  const refused = await refusalOf(Promise.reject(answer.reason));
  return refused.codeName === "UNAVAILABLE" ? "UNAVAILABLE" : refused.reason;
};

/** Reads the proposal over and over while the calls run. @returns every outcome of a reading. */
const readBeside = async (
  council: Council,
  { id }: Proposal,
  calls: Promise<unknown>,
): Promise<Set<string>> => {
  const seen = new Set<string>();
  let running = true;
  const stop = () => void (running = false);
  calls.then(stop, stop);
  const readOn = async (): Promise<void> => {
    while (running) {
      const outcome = await outcomeOf(council.as("observer").canon.getProposal({ id }));
      seen.add(outcome);
      // As `persist` does: there is nothing to read until the store is back.
      if (outcome === "UNAVAILABLE") await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await Promise.all([readOn(), readOn(), readOn()]);
  return seen;
};

/** Committed, by exactly k of those who attested, as one version with one ending. */
const expectCommittedOnce = async (
  council: Council,
  { id, recordId }: Proposal,
  k: number,
): Promise<void> => {
  const proposal = await council.now({ id });
  expect(proposal.state).to.equal(COMMITTED);
  const { attestedBy, record } = await council.as("observer").canon.getSystemRecord({ id: recordId });
  expect(attestedBy).to.have.lengthOf(k);
  expect(record).to.include({ version: 1n });
  expect(record?.record?.position).to.equal(proposal.committedPosition);
  expect(proposal.attestations.map(({ witness }) => witness)).to.include.members(attestedBy);
  const { ledger } = council.served.server;
  const ending = `proposal_ending/${id.slice("proposal/".length)}`;
  expect(await ledger.reader.versionAt("system", "user", ending, 1n)).to.not.equal(undefined);
  expect(await ledger.reader.versionAt("system", "user", ending, 2n)).to.equal(undefined);
};

const expectSound = async (council: Council): Promise<void> => {
  const { directory } = council.deployment;
  const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };
  const report = await runFsck(await describeDeployment({ directory, kekInputs, nowMs: Date.now }));
  expect(report.problems).to.deep.equal([]);
};

describe("last approvals at the same instant", () => {
  const witnesses = Array.from({ length: 10 }, (_, index) => `w${index}`);
  /**
   * Twice each order of four calls. Calls that are not one after the other show in each round; `npm run
   * campaign:quorum` goes through thousands.
   */
  const rounds = 8;

  it("commit once: of ten at once five count, and the others come too late", async () => {
    await using council = await Council.open({ witnesses, k: 5, model: unhurriedModel });
    for (let round = 0; round < rounds; round += 1) {
      const proposal = await council.proposeAny();
      const outcomes = await Promise.all(witnesses.map((each) => outcomeOf(council.attest(proposal, each))));
      const times = (name: string) => outcomes.filter((outcome) => outcome === name).length;
      expect(times("PROPOSAL_STATE_OPEN"), outcomes.join()).to.equal(4);
      expect(times("PROPOSAL_STATE_COMMITTED")).to.equal(1);
      expect(times("PROPOSAL_COMMITTED")).to.equal(5);
      await expectCommittedOnce(council, proposal, 5);
    }
  });

  it("commit once beside a withdrawal and a commit that was asked for, whichever comes first", async () => {
    await using council = await Council.open({ model: unhurriedModel });
    for (let round = 0; round < rounds; round += 1) {
      const proposal = await council.proposeAny();
      await council.attest(proposal, "ann");
      const calls = [
        council.attest(proposal, "ben"),
        council.commit(proposal),
        council.as("mentor").canon.withdrawProposal({ id: proposal.id }),
        council.attest(proposal, "cyd"),
      ];
      const turned = round % calls.length;
      const outcomes = await Promise.all([...calls.slice(turned), ...calls.slice(0, turned)].map(outcomeOf));
      const { state } = await council.now(proposal);
      const isCommitted = outcomes.includes("PROPOSAL_STATE_COMMITTED");
      expect(state, outcomes.join()).to.equal(
        isCommitted ? COMMITTED : ProposalState.PROPOSAL_STATE_WITHDRAWN,
      );
      expect(outcomes.includes("PROPOSAL_STATE_WITHDRAWN")).to.equal(!isCommitted);
      if (isCommitted) await expectCommittedOnce(council, proposal, 2);
    }
  });

  it("are read as open and then as committed, never as anything between", async () => {
    await using council = await Council.open({ model: unhurriedModel });
    const seen = new Set<string>();
    for (let round = 0; round < rounds / 2; round += 1) {
      const proposal = await council.proposeAny();
      await council.attest(proposal, "ann");
      const calls = outcomeOf(council.attest(proposal, "ben"));
      for (const each of await readBeside(council, proposal, calls)) seen.add(each);
    }
    expect([...seen]).to.have.members(["PROPOSAL_STATE_OPEN", "PROPOSAL_STATE_COMMITTED"]);
  });

  it("about proposals for one record commit one of them, and supersede the other", async () => {
    await using council = await Council.open({ model: unhurriedModel });
    for (let round = 0; round < rounds / 2; round += 1) {
      const one = await council.proposeAny();
      const other = await council.propose({
        id: one.recordId,
        content: { $case: "payloadJson", value: one.payloadJson },
      });
      for (const proposal of [one, other]) await council.attest(proposal, "ann");
      await Promise.all([one, other].map((proposal) => outcomeOf(council.attest(proposal, "ben"))));
      const states = await Promise.all([one, other].map(async (each) => (await council.now(each)).state));
      expect(states).to.have.members([COMMITTED, ProposalState.PROPOSAL_STATE_SUPERSEDED]);
      const { record } = await council.as("observer").canon.getSystemRecord({ id: one.recordId });
      expect(record?.version).to.equal(1n);
    }
  });
});

describe("a store that fails at the last approval", () => {
  let council: Council;
  let store: FaultyStore;
  /** Nobody can open the store: the machine is gone. */
  let gone = false;
  const serving = (directory: string): ServeOptions => ({
    overrides: {
      openStore: async () => {
        if (gone) throw new Error("the machine is gone");
        return (store = createFaultyStore(await openLevelStore(join(directory, "ledger"))));
      },
    },
  });
  before(async () => {
    council = await Council.open({ model: unhurriedModel }, serving);
  });
  after(() => council[Symbol.asyncDispose]());

  /** As callers are told to: until there is an answer. */
  const persist = async (
    call: () => Promise<{ readonly proposal?: Proposal | undefined }>,
  ): Promise<string> => {
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const outcome = await outcomeOf(call());
      if (outcome !== "UNAVAILABLE") return outcome;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return expect.fail("no answer");
  };

  /** One proposal, whose last approval meets the fault. @returns whether it did. */
  const runWith = async (fault: Fault): Promise<boolean> => {
    await untilStatus(council.served.server.ledger, "serving");
    const proposal = await council.proposeAny();
    await council.attest(proposal, "ann");
    store.plan(fault);
    const failing = store;
    const first = await outcomeOf(council.attest(proposal, "ben"));
    const tripped = failing.tripped();
    failing.plan(null);
    expect(first, JSON.stringify(fault)).to.be.oneOf(["UNAVAILABLE", "PROPOSAL_STATE_COMMITTED"]);
    // Whoever repeats gets an answer: it is committed now, or it was the first time.
    const repeating = persist(() => council.attest(proposal, "ben"));
    const seen = await readBeside(council, proposal, repeating);
    expect(["PROPOSAL_STATE_OPEN", "PROPOSAL_STATE_COMMITTED", "UNAVAILABLE"]).to.include.members([...seen]);
    const again = await repeating;
    expect(again, JSON.stringify(fault)).to.be.oneOf(
      first === "UNAVAILABLE" ? ["PROPOSAL_STATE_COMMITTED", "PROPOSAL_COMMITTED"] : ["PROPOSAL_COMMITTED"],
    );
    expect(await persist(() => council.commit(proposal))).to.equal("PROPOSAL_STATE_COMMITTED");
    await untilStatus(council.served.server.ledger, "serving");
    await expectCommittedOnce(council, proposal, 2);
    return tripped;
  };

  for (const operation of ["commit", "get", "range"] as const) {
    for (const when of ["before", "after"] as const) {
      it(`at each ${operation}, ${when} carrying it out, loses nothing and commits once`, async () => {
        let steps = 1;
        // The reads are many and alike: every seventh of them fails.
        for (const stride = operation === "get" ? 7 : 1; ; steps += stride) {
          if (!(await runWith({ operation, nth: steps, when, then: "fails" }))) break;
        }
        if (operation === "commit") expect(steps).to.equal(3);
      });
    }
  }

  it("keeps what the dying server had written and forgets what it had not, on the same data directory", async () => {
    for (const [when, kept] of [
      ["before", false],
      ["after", true],
    ] as const) {
      await untilStatus(council.served.server.ledger, "serving");
      const proposal = await council.proposeAny();
      await council.attest(proposal, "ann");
      // The second commit of the call is the one: the first is the decision that allows it.
      store.plan({ operation: "commit", nth: 2, when, then: "fails" });
      gone = true;
      expect(await outcomeOf(council.attest(proposal, "ben"))).to.equal("UNAVAILABLE");
      const restarting = council.restart(serving(council.deployment.directory));
      gone = false;
      await restarting;
      const found = await council.now(proposal);
      expect(found.state).to.equal(kept ? COMMITTED : OPEN);
      expect(found.attestations.map(({ witness }) => witness)).to.deep.equal(kept ? ["ann", "ben"] : ["ann"]);
      const again = await outcomeOf(council.attest(proposal, "ben"));
      expect(again).to.equal(kept ? "PROPOSAL_COMMITTED" : "PROPOSAL_STATE_COMMITTED");
      await expectCommittedOnce(council, proposal, 2);
    }
  });

  it("while others approve at the same instant, commits once all the same", async () => {
    for (let nth = 1; nth <= 6; nth += 1) {
      await untilStatus(council.served.server.ledger, "serving");
      const proposal = await council.proposeAny();
      store.plan({ operation: "commit", nth, when: nth % 2 === 0 ? "after" : "before", then: "fails" });
      const outcomes = await Promise.all(
        ["ann", "ben", "cyd"].map((each) => persist(() => council.attest(proposal, each))),
      );
      store.plan(null);
      await untilStatus(council.served.server.ledger, "serving");
      expect(outcomes.join()).to.match(/COMMITTED/);
      await expectCommittedOnce(council, proposal, 2);
    }
  });

  it("makes a proposal once whose answer was lost, for its idempotency key", async () => {
    for (const when of ["before", "after"] as const) {
      await untilStatus(council.served.server.ledger, "serving");
      const kind = `lost-${when}`;
      const content = { $case: "payloadJson", value: JSON.stringify({ kind, schema: {} }) } as const;
      const asked = { id: `schema/${kind}`, content, idempotencyKey: kind };
      store.plan({ operation: "commit", nth: 2, when, then: "fails" });
      const propose = () => council.as("mentor").canon.proposeRecord(asked);
      expect(await outcomeOf(propose())).to.equal("UNAVAILABLE");
      expect(await persist(propose)).to.equal("PROPOSAL_STATE_OPEN");
      const { proposals } = await council.as("observer").canon.listProposals({ recordId: asked.id });
      expect(proposals).to.have.lengthOf(1);
      await council.approve(proposals[0] ?? expect.fail(), "ann", "ben");
    }
  });

  it("and the ledger it leaves inspects clean", async () => {
    await council.served[Symbol.asyncDispose]();
    await expectSound(council);
    await council.restart(serving(council.deployment.directory));
  });
});
