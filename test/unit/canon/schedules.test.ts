/** The short form of the quorum campaign; `npm run campaign:quorum -- --count 100000` is the long one. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { proposalOutcomes } from "../../../src/core/record/kinds.ts";
import { refusalRules, wireReason } from "../../../src/core/quorum/refusals.ts";
import { runSchedules, settingsCount } from "../../campaigns/quorum-schedules.ts";

describe("proposals under random schedules", () => {
  it("never commit below k distinct valid attestations and always with them, in 2,000 schedules", () => {
    const { wrongs, schedules, commits, reasons } = runSchedules({ count: 2000, seed: 20 });
    expect(wrongs).to.deep.equal([]);
    expect(schedules, "every k of n and every subset at least once").to.be.greaterThan(settingsCount);
    expect(commits).to.be.greaterThan(500);
    // The world records no superseded proposal, and withdraws only for the proposer.
    const {
      ended: _ended,
      notProposer: _other,
      quorumShort: _k,
      possessionMissing: _p,
      ...byName
    } = refusalRules;
    const expected = [
      ...(Object.keys(byName) as (keyof typeof byName)[]).map((reason) =>
        wireReason({ kind: "refused", reason, rule: "" }),
      ),
      ...proposalOutcomes
        .filter((outcome) => outcome !== "superseded")
        .map((outcome) => wireReason({ kind: "refused", reason: "ended", rule: "", outcome })),
      "commit QUORUM_SHORT",
      "commit POSSESSION_MISSING",
    ];
    expect(
      expected.filter((reason) => !reasons.has(reason)),
      "refusals that never came up",
    ).to.deep.equal([]);
  });

  it("are the same schedules for the same seed", () => {
    const [first, second] = [runSchedules({ count: 50, seed: 3 }), runSchedules({ count: 50, seed: 3 })];
    expect(second).to.deep.equal(first);
    expect(runSchedules({ count: 50, seed: 4 }).reasons).not.to.deep.equal(first.reasons);
  });
});
