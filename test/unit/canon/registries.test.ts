/** The witness registry in force: read once, read again when it changes or could not be read. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { QuorumState, type StateLedger } from "../../../src/canon/proposals/state.ts";
import { fail } from "../../../src/errors.ts";
import {
  createWorld,
  faultOf,
  newSigner,
  openWorld,
  systemBody,
  userBody,
} from "../../contract/memory-ledger.ts";

const quorum = (k: number, epoch: number) =>
  systemBody("quorum", "quorum", { k, witnesses: ["w1", "w2"], epoch });
const witness = (id: string) =>
  systemBody("witness", `witness/${id}`, {
    public_key: newSigner().publicKey,
    owner: id,
    authority: "",
    description: "",
  });

describe("the registry in force", () => {
  it("is read once, and again after its change alone, or after a reading that failed", async () => {
    await using ledger = await openWorld(await createWorld());
    await ledger.append([witness("w1"), witness("w2"), quorum(1, 1)]);
    let looks = 0;
    let isBroken = true;
    const reader = {
      get size() {
        return ledger.reader.size;
      },
      heads: (...asked: Parameters<typeof ledger.reader.heads>) => ledger.reader.heads(...asked),
      readAt: (...asked: Parameters<typeof ledger.reader.readAt>) => ledger.reader.readAt(...asked),
      versionBelow: async (...asked: Parameters<typeof ledger.reader.versionBelow>) => {
        looks += 1;
        if (isBroken) fail({ kind: "storeFailed", step: "read", rule: "the disk is away" });
        return ledger.reader.versionBelow(...asked);
      },
    } as unknown as StateLedger["reader"];
    const { feed, status } = ledger;
    const state = new QuorumState({ reader, feed, status }, () => 1_700_000_000_000);
    const ofNow = async () => {
      const { registry } = (await state.now()).registry;
      return [registry.k, registry.epoch, looks];
    };
    for (const looked of [1, 2]) {
      expect((await faultOf(state.now()))?.kind).to.equal("storeFailed");
      expect(looks).to.equal(looked);
    }
    isBroken = false;
    looks = 0;
    expect([await ofNow(), await ofNow()]).to.deep.equal([
      [1, 1, 3],
      [1, 1, 3],
    ]);
    await ledger.append([userBody("quorum"), userBody("witness/w1", {}, { tenant: "system" })]);
    expect(await ofNow(), "after records of users").to.deep.equal([1, 1, 3]);
    const { hash: prev } = (await ledger.reader.readId("system", "system", "quorum")) ?? { hash: null };
    await ledger.append([{ ...quorum(2, 2), prev }]);
    expect(await ofNow(), "after its change").to.deep.equal([2, 2, 6]);
    state.close();
  });
});
