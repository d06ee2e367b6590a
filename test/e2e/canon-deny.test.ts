/**
 * Canon on a bad day: while the trust model or the store fails no write passes, and what is refused leaves nothing
 * behind.
 */
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { ProposalState, type Proposal } from "@sigil/client";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import { evaluate } from "../../src/core/model/model.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { untilStatus } from "../contract/memory-ledger.ts";
import { endOf, put, unhurriedModel, writeOf } from "./canon-writes.ts";
import { Council, json, newKey } from "./council.ts";
import { refusalOf } from "./refusal.ts";
import { attest } from "./witness.ts";

const schemaOf = (kind: string) => ({ id: `schema/${kind}`, content: json({ kind, schema: {} }) });

/** Every way to write something, each ready to be carried out. */
const writesOf = (council: Council, ready: Proposal, open: Proposal) => {
  const [operator, mentor] = [council.as("operator"), council.as("mentor")];
  return {
    WriteRecord: () => put(operator, "kept", { n: 2 }),
    "WriteRecord of a tombstone": () => operator.canon.writeRecord(endOf("kept")),
    BatchWriteRecords: () => operator.canon.batchWriteRecords({ writes: [writeOf("a", 1), writeOf("b", 2)] }),
    ProposeRecord: () => mentor.canon.proposeRecord(schemaOf("other")),
    ProposeWitnessChange: () =>
      mentor.witness.proposeWitnessChange({ change: { $case: "quorum", value: { k: 1 } } }),
    "AttestProposal below k": () => council.attest(open, "cyd"),
    "AttestProposal at k": () => council.attest(ready, "cyd"),
    CommitProposal: () => council.commit(ready),
    WithdrawProposal: () => mentor.canon.withdrawProposal({ id: open.id }),
  };
};

/** A record, a proposal that only waits to be committed, and one that nobody has attested. */
const prepare = async (council: Council) => {
  await put(council.as("operator"), "kept", { n: 1 });
  const ready = await council.proposeAny({ separateCommit: true });
  await council.approve(ready, "ann", "ben");
  return { ready, open: await council.proposeAny() };
};

const expectUntouched = async (council: Council, ready: Proposal, open: Proposal): Promise<void> => {
  const observer = council.as("observer");
  const { records } = await observer.canon.listRecords({ filter: { includeTombstones: true } });
  expect(records.map(({ record, version }) => [record?.id, version])).to.deep.equal([["kept", 1n]]);
  expect((await observer.canon.listProposals({})).proposals.map(({ id }) => id)).to.have.members([
    ready.id,
    open.id,
  ]);
  for (const [proposal, approvedBy] of [
    [ready, ["ann", "ben"]],
    [open, []],
  ] as const) {
    const state = ProposalState.PROPOSAL_STATE_OPEN;
    expect(await council.now(proposal)).to.deep.include({ state, approvedBy });
  }
  expect((await council.as("guest").witness.getQuorum({})).quorum?.epoch).to.equal(1n);
};

describe("canon denies every write by default", () => {
  const faults: readonly (readonly [string, Evaluate])[] = [
    [
      "throws",
      () => {
        throw new Error("evaluator broke");
      },
    ],
    ["hangs past its deadline", () => new Promise(() => {})],
    ["answers nonsense", (() => "allow") as unknown as Evaluate],
  ];
  for (const [name, broken] of faults) {
    it(`while the evaluator ${name}, and names the decision that says so`, async () => {
      let current: Evaluate = evaluate;
      const evaluator: Evaluate = (model, features, signal) => current(model, features, signal);
      await using council = await Council.open(
        { model: unhurriedModel },
        { overrides: { evaluate: evaluator } },
      );
      const { ready, open } = await prepare(council);
      current = broken;
      const expectDenied = async ([rpc, write]: readonly [string, () => Promise<unknown>]) => {
        const refused = await refusalOf(write());
        expect([refused.codeName, refused.reason], rpc).to.deep.equal(["PERMISSION_DENIED", "DENIED"]);
        expect(refused.facts["decision_reason"], rpc).to.equal("EVALUATOR_ERROR");
        // A witness is of tenant "system", whoever brings its statement.
        const tenant = rpc.startsWith("Attest") ? "system" : "acme";
        const auditId = refused.facts["audit_id"] ?? "";
        const proof = await council.as("root").audit.verifyFrozenChain({ auditId, tenant });
        expect(proof.verified, rpc).to.equal(true);
      };
      await Promise.all(Object.entries(writesOf(council, ready, open)).map(expectDenied));
      current = evaluate;
      await expectUntouched(council, ready, open);
      expect((await council.commit(ready)).proposal?.state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
    });
  }

  it("while the store fails, at the decision or at what it allows, and serves again afterwards", async () => {
    let store: FaultyStore | undefined;
    await using council = await Council.open({ model: unhurriedModel }, (directory) => ({
      overrides: {
        openStore: async () => {
          store = createFaultyStore(await openLevelStore(join(directory, "ledger")));
          return store;
        },
      },
    }));
    const { ready, open } = await prepare(council);
    for (const [rpc, write] of Object.entries(writesOf(council, ready, open))) {
      // The first commit holds the decision, the second what it allows.
      for (const nth of ["WriteRecord", "AttestProposal at k", "CommitProposal"].includes(rpc)
        ? [1, 2]
        : [1]) {
        store?.plan({ operation: "commit", nth, when: "before", then: "fails" });
        expect((await refusalOf(write())).codeName, `${rpc}, commit ${nth}`).to.equal("UNAVAILABLE");
        await untilStatus(council.served.server.ledger, "serving");
      }
    }
    await expectUntouched(council, ready, open);
    expect((await council.commit(ready)).proposal?.state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
  });
});

describe("canon refuses without a trace", () => {
  it("whatever strangers send, so that no Guest can fill the ledger", async () => {
    await using council = await Council.open();
    const [proposal, ended] = [await council.proposeAny(), await council.proposeAny()];
    const genuine = attest(proposal, council.key("ann"));
    await council.send(proposal, genuine);
    await council.as("mentor").canon.withdrawProposal({ id: ended.id });
    const stranger = newKey();
    const { size } = council.served.server.ledger.reader;
    const guest = council.as("guest");
    const calls = [
      () => council.send(proposal, genuine),
      () => council.send(proposal, attest(proposal, stranger)),
      () => council.send(ended, attest(ended, council.key("ann"))),
      () => council.send(proposal, new Uint8Array(300)),
      () => guest.canon.attestProposal({ id: "proposal/none", statement: genuine }),
      () => guest.canon.commitProposal({ id: proposal.id }),
      () => guest.canon.withdrawProposal({ id: proposal.id }),
      () => guest.canon.proposeRecord(schemaOf("x")),
      () => guest.witness.proposeWitnessChange({ change: { $case: "quorum", value: { k: 1 } } }),
      () => guest.canon.writeRecord(writeOf("a", 1)),
      () => guest.canon.batchWriteRecords({ writes: [writeOf("a", 1)] }),
    ];
    for (const call of [...calls, ...calls]) await refusalOf(call());
    expect(council.served.server.ledger.reader.size).to.equal(size);
  });
});

describe("canon does not commit late", () => {
  it("the last approval of a proposal that expires while the trust model decides on it", async () => {
    let aheadMs = 0;
    let slowly = false;
    const evaluator: Evaluate = (model, features) => {
      if (slowly) aheadMs += 20_001;
      return evaluate(model, features);
    };
    const overrides = { clock: { nowMs: () => Date.now() + aheadMs }, evaluate: evaluator };
    await using council = await Council.open({}, { overrides });
    const proposal = await council.proposeAny({ lifetimeSeconds: 20 });
    await council.attest(proposal, "ann");
    slowly = true;
    const refused = await refusalOf(council.attest(proposal, "ben"));
    expect([refused.codeName, refused.reason]).to.deep.equal(["FAILED_PRECONDITION", "PROPOSAL_EXPIRED"]);
    slowly = false;
    const state = ProposalState.PROPOSAL_STATE_EXPIRED;
    expect(await council.now(proposal)).to.include({ state, committedPosition: undefined });
  });
});

describe("canon lets nobody wait for a stranger", () => {
  it("refuses a forged statement while a genuine one is still being written", async () => {
    const [begun, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let holding = false;
    await using council = await Council.open({}, (directory) => ({
      overrides: {
        openStore: async () => {
          const store = await openLevelStore(join(directory, "ledger"));
          const commit = store.commit.bind(store);
          return Object.assign(store, {
            commit: async (batch: Parameters<typeof commit>[0]) => {
              if (holding) {
                begun.resolve();
                await released.promise;
              }
              return commit(batch);
            },
          });
        },
      },
    }));
    const proposal = await council.proposeAny();
    holding = true;
    const genuine = council.attest(proposal, "ann");
    await begun.promise;
    const forged = attest(proposal, council.key("ben"));
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    for (const statement of [forged, attest(proposal, newKey())]) {
      expect((await refusalOf(council.send(proposal, statement))).codeName).to.equal("PERMISSION_DENIED");
    }
    released.resolve();
    expect((await genuine).proposal?.approvedBy).to.deep.equal(["ann"]);
  });
});
