/** Open proposals: nobody takes them all, and Root always finds a place. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { requireProposalPlace, type Proposer } from "../../../src/canon/proposals/proposal-places.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { SigilFault } from "../../../src/errors.ts";

const mentorOf = (principal: string, tenant: string): Caller => ({
  ...anonymous,
  principal,
  tenant,
  level: "mentor",
  credential: "token",
});
const root: Caller = { ...mentorOf("root", "system"), level: "root" };

/** Proposes until it is refused. @returns how often, and why it was refused. */
const fill = (caller: Caller, open: Proposer[]): readonly [number, string] => {
  for (let opened = 0; ; opened += 1) {
    try {
      requireProposalPlace(caller, open);
    } catch (error) {
      if (!(error instanceof SigilFault) || error.error.kind !== "overQuota") throw error;
      return [opened, error.error.reason];
    }
    open.push({ principal: caller.principal, tenant: caller.tenant });
  }
};

describe("places for open proposals", () => {
  it("are a quarter for one Mentor, half for one tenant, and an eighth is Root's alone", () => {
    const open: Proposer[] = [];
    expect(fill(mentorOf("ann", "acme"), open)).to.deep.equal([64, "PROPOSALS_PER_CALLER"]);
    expect(fill(mentorOf("ben", "acme"), open)).to.deep.equal([64, "PROPOSALS_PER_CALLER"]);
    expect(fill(mentorOf("eve", "acme"), open)).to.deep.equal([0, "PROPOSALS_PER_TENANT"]);
    expect(fill(mentorOf("kim", "other"), open)).to.deep.equal([64, "PROPOSALS_PER_CALLER"]);
    expect(fill(mentorOf("lee", "third"), open)).to.deep.equal([32, "PROPOSALS"]);
    expect(fill({ ...mentorOf("r", "acme"), level: "root" }, open), "Root of a tenant").to.deep.equal([
      0,
      "PROPOSALS",
    ]);
    expect(fill(root, open)).to.deep.equal([32, "PROPOSALS"]);
  });

  it("leave a second Root a place, whatever a first one does", () => {
    const open: Proposer[] = [];
    expect(fill(root, open)).to.deep.equal([64, "PROPOSALS_PER_CALLER"]);
    const [opened] = fill({ ...root, principal: "other-root" }, open);
    expect(opened).to.equal(64);
  });
});
