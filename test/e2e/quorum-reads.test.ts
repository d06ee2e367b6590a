/** How much a proposal's steps read of the store: what is decided on is in memory, kept by commits. */
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { ProposalState } from "@sigil/client";
import { openLevelStore } from "../../src/storage/level.ts";
import { createCountingStore, type CountingStore, type Reads } from "../contract/counting-store.ts";
import { unhurriedModel } from "./canon-writes.ts";
import { Council } from "./council.ts";

const { PROPOSAL_STATE_COMMITTED: COMMITTED } = ProposalState;

/** @param onOpen is handed the store that is counted. */
const openCounted = (onOpen: (store: CountingStore) => void): Promise<Council> =>
  Council.open({ model: unhurriedModel }, (directory) => ({
    overrides: {
      openStore: async () => {
        const store = createCountingStore(await openLevelStore(join(directory, "ledger")));
        onOpen(store);
        return store;
      },
    },
  }));

/** Reads of each of several calls, one after the other. */
const readsOf = async (
  store: CountingStore | undefined,
  calls: readonly (() => Promise<unknown>)[],
): Promise<Reads[]> => {
  const reads: Reads[] = [];
  for (const call of calls) {
    store?.taken();
    await call();
    reads.push(store?.taken() ?? expect.fail("no store was opened"));
  }
  return reads;
};

describe("what a quorum reads of the store", () => {
  it("is at the last approval the record that it answers with, and nothing before", async () => {
    let store: CountingStore | undefined;
    await using council = await openCounted((opened) => (store = opened));
    const proposal = await council.proposeAny();
    await council.proposeAny();
    await council.attest(proposal, "ann");
    const [reads] = await readsOf(store, [
      async () => expect((await council.attest(proposal, "ben")).proposal?.state).to.equal(COMMITTED),
    ]);
    // The record, its group, the nodes of its proof; and what the ledger itself looks up.
    expect(reads?.gets).to.be.at.most(5);
    expect(reads?.ranges).to.equal(0);
  });

  it("does not grow with the proposals that are open", async () => {
    let store: CountingStore | undefined;
    await using council = await openCounted((opened) => (store = opened));
    await council.proposeAny();
    const reads = await readsOf(
      store,
      Array.from({ length: 8 }, () => () => council.proposeAny()),
    );
    const ranges = reads.map((each) => each.ranges);
    expect(Math.max(...ranges)).to.equal(ranges[0]);
  });
});
