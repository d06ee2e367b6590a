/** Counted places: a caller's, a tenant's, all, and Root's own. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { Caller } from "../../../src/identity/caller.ts";
import { SigilFault } from "../../../src/errors.ts";
import { Places } from "../../../src/rpc/bounds/places.ts";

const callerOf = (principal: string, tenant: string, level: Caller["level"] = "observer"): Caller => ({
  principal,
  tenant,
  level,
  credential: "token",
  peer: "",
});

const placesOf = (): Places =>
  new Places({
    what: "streams",
    perCallerMax: 2,
    perTenantMax: 3,
    max: 6,
    forRoot: 2,
    reasons: { caller: "STREAMS_PER_CALLER", tenant: "STREAMS_PER_TENANT", all: "STREAMS" },
  });

const reasonOf = (take: () => unknown): string => {
  try {
    take();
    return "taken";
  } catch (error) {
    return error instanceof SigilFault && error.error.kind === "overQuota"
      ? error.error.reason
      : String(error);
  }
};

describe("places", () => {
  const root = callerOf("root", "system", "root");

  it("are refused past a caller's, a tenant's and everybody's, each by its name", () => {
    const places = placesOf();
    const take = (caller: Caller) => (): unknown => places.take(caller);
    const [ann, ben, eve] = [callerOf("ann", "a"), callerOf("ben", "a"), callerOf("eve", "b")];
    expect([1, 2, 3].map(() => reasonOf(take(ann)))).to.deep.equal(["taken", "taken", "STREAMS_PER_CALLER"]);
    expect([1, 2].map(() => reasonOf(take(ben)))).to.deep.equal(["taken", "STREAMS_PER_TENANT"]);
    expect([1, 2].map(() => reasonOf(take(eve)))).to.deep.equal(["taken", "STREAMS"]);
  });

  it("are left for Root of tenant system, and for no other Root", () => {
    const places = placesOf();
    for (const [name, tenant] of [
      ["a", "a"],
      ["b", "b"],
      ["c", "c"],
      ["d", "d"],
    ] as const)
      places.take(callerOf(name, tenant));
    expect(reasonOf(() => places.take(callerOf("root", "acme", "root")))).to.equal("STREAMS");
    expect(reasonOf(() => places.take(callerOf("mentor", "system", "mentor")))).to.equal("STREAMS");
    expect([1, 2].map(() => reasonOf(() => places.take(root)))).to.deep.equal(["taken", "taken"]);
  });

  it("come back once, however often they are given back", () => {
    const places = placesOf();
    const ann = callerOf("ann", "a");
    const giveBack = places.take(ann);
    places.take(ann);
    giveBack();
    giveBack();
    expect(places.taken).to.equal(1);
    expect([1, 2].map(() => reasonOf(() => places.take(ann)))).to.deep.equal(["taken", "STREAMS_PER_CALLER"]);
  });
});
