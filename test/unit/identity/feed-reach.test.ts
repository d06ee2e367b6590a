/** How far a caller may watch: by its tenant, as Root, or by its feed grant, which is a table. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { FeedGrantPayload } from "../../../src/core/record/kinds/feed-grant.ts";
import { SigilFault } from "../../../src/errors.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import { requireReach, type AskedFeed } from "../../../src/identity/feed-reach.ts";

const callerOf = (changes: Partial<Caller>): Caller => ({
  principal: "ann",
  tenant: "acme",
  level: "observer",
  credential: "token",
  peer: "",
  ...changes,
});

const reader = (grant: Partial<FeedGrantPayload>): Caller =>
  callerOf({
    level: "guest",
    feed: { grant: { tenants: [], kinds: [], spaces: [], ...grant }, position: 7n },
  });

const asked = (changes: Partial<AskedFeed>): AskedFeed => ({
  tenants: [],
  spaces: ["user"],
  kinds: "listed",
  asksDecisions: false,
  ...changes,
});

const outcomeOf = (caller: Caller, question: AskedFeed): unknown => {
  try {
    return requireReach(caller, question);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return error.error.kind;
  }
};

describe("the reach of a watch", () => {
  it("is the caller's own tenant and the system space", () => {
    const observer = callerOf({});
    expect(outcomeOf(observer, asked({}))).to.deep.equal(["acme"]);
    expect(outcomeOf(observer, asked({ tenants: ["acme"], kinds: "all" }))).to.deep.equal(["acme"]);
    expect(outcomeOf(observer, asked({ spaces: ["user", "system"] }))).to.deep.equal(["acme"]);
    expect(outcomeOf(observer, asked({ spaces: ["system"] }))).to.deep.equal([]);
    expect(outcomeOf(observer, asked({ spaces: ["system"], tenants: ["system"] }))).to.deep.equal([]);
    expect(outcomeOf(observer, asked({ spaces: ["system"], tenants: ["acme"] }))).to.equal("invalidField");
    for (const tenants of ["all", ["beta"], ["acme", "beta"], ["system"]] as const) {
      expect(outcomeOf(observer, asked({ tenants })), String(tenants)).to.equal("tenantForbidden");
    }
  });

  it("is everything for Root of tenant system alone", () => {
    const root = callerOf({ level: "root", tenant: "system" });
    expect(outcomeOf(root, asked({ tenants: "all", kinds: "all" }))).to.equal("all");
    expect(outcomeOf(root, asked({ tenants: ["beta"] }))).to.deep.equal(["beta"]);
    expect(outcomeOf(callerOf({ level: "root" }), asked({ tenants: "all" }))).to.equal("tenantForbidden");
  });

  it("is what a grant names and no more, its principal's own tenant among it only where it is named", () => {
    const table: readonly (readonly [Partial<FeedGrantPayload>, Partial<AskedFeed>, unknown])[] = [
      [{ tenants: "all", kinds: "all", spaces: "all" }, { tenants: "all", kinds: "all" }, "all"],
      [{ tenants: "all", kinds: "all", spaces: "all" }, { asksDecisions: true, kinds: ["a"] }, ["acme"]],
      [{ tenants: ["beta"], kinds: "all", spaces: ["user"] }, { tenants: ["beta"] }, ["beta"]],
      [{ tenants: ["beta"], kinds: "all", spaces: ["user"] }, {}, "tenantForbidden"],
      [{ tenants: ["beta"], kinds: "all", spaces: ["user"] }, { tenants: "all" }, "tenantForbidden"],
      [{ tenants: ["beta"], kinds: "all", spaces: ["user"] }, { spaces: ["system"] }, "feedForbidden"],
      [{ tenants: [], kinds: "all", spaces: ["system"] }, { spaces: ["system"] }, []],
      [{ tenants: [], kinds: "all", spaces: "all" }, {}, "tenantForbidden"],
      [{ tenants: "all", kinds: ["a"], spaces: "all" }, { kinds: ["a"] }, ["acme"]],
      [{ tenants: "all", kinds: ["a"], spaces: "all" }, { kinds: ["a", "b"] }, "feedForbidden"],
      [{ tenants: "all", kinds: ["a"], spaces: "all" }, {}, "feedForbidden"],
      [{ tenants: "all", kinds: ["a"], spaces: "all" }, { kinds: "all" }, "feedForbidden"],
      [
        { tenants: "all", kinds: ["a"], spaces: "all" },
        { kinds: ["a"], asksDecisions: true },
        "feedForbidden",
      ],
      [{ tenants: "all", kinds: [], spaces: "all" }, { kinds: ["a"] }, "feedForbidden"],
      [{ tenants: "all", kinds: "all", spaces: [] }, {}, "feedForbidden"],
    ];
    for (const [grant, question, outcome] of table) {
      expect(outcomeOf(reader(grant), asked(question)), JSON.stringify([grant, question])).to.deep.equal(
        outcome,
      );
    }
  });
});
