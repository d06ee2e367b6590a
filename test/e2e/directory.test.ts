/** Who there is: everybody once, whatever the size of the pages, and nobody to whom it is none of their business. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { LevelOfAccess, type SigilConnection } from "@sigil/client";
import { put } from "./canon-writes.ts";
import { codeOf } from "./refusal.ts";
import { SuspendedWorld } from "./suspended-world.ts";

describe("the directory of principals", () => {
  let world: SuspendedWorld;
  before(async () => {
    world = await SuspendedWorld.open();
    for (const name of ["a", "b", "c"]) {
      const payload = { public_keys: [], loa: "observer", tenant: "acme", active: true };
      await put(world.by("may"), `principal/${name}`, payload, { kind: "principal" });
    }
    await world.suspend(world.council.as("root"), "acme/b");
    await world.suspend(world.council.as("root"), "olga", world.key("olga"));
  });
  after(() => world[Symbol.asyncDispose]());
  const list = async (
    by: SigilConnection,
    asked: Parameters<SigilConnection["principals"]["listPrincipals"]>[0] = {},
  ) => {
    const ids: string[] = [];
    let pages = 0;
    let pageToken = "";
    do {
      const page = await by.principals.listPrincipals({ ...asked, pageToken });
      ids.push(...page.principals.map(({ id }) => id));
      pages += 1;
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && pages < 100);
    return ids;
  };
  const governed = ["eve", "hal", "may", "mentor", "observer", "olga", "operator", "owen", "root"];
  const ofAcme = ["may", "mentor", "observer", "operator", "owen", "acme/a", "acme/b", "acme/c"];

  it("shows Root everybody, page by page, each once", async () => {
    const root = world.council.as("root");
    for (const pageSize of [0, 1, 2, 5, 12, 1000]) {
      expect(await list(root, { pageSize }), `pages of ${pageSize}`).to.deep.equal([
        ...governed,
        "acme/a",
        "acme/b",
        "acme/c",
      ]);
    }
  });

  it("shows a Mentor its own tenant, and the others themselves", async () => {
    expect(await list(world.by("may"))).to.deep.equal(ofAcme);
    expect(await list(world.by("may"), { pageSize: 1 })).to.deep.equal(ofAcme);
    expect(await list(world.by("owen"))).to.deep.equal(["owen"]);
    expect(await list(world.council.as("guest"))).to.deep.equal([]);
    expect(await codeOf(list(world.by("may"), { tenant: "beta" }))).to.equal("PERMISSION_DENIED");
    expect(await codeOf(list(world.by("owen"), { tenant: "beta" }))).to.equal("PERMISSION_DENIED");
  });

  it("filters by tenant, level and suspension", async () => {
    const root = world.council.as("root");
    expect(await list(root, { tenant: "acme", pageSize: 2 })).to.deep.equal(ofAcme);
    expect(await list(root, { tenant: "beta" })).to.deep.equal(["olga"]);
    expect(await list(root, { level: LevelOfAccess.LEVEL_OF_ACCESS_ROOT })).to.deep.equal([
      "eve",
      "hal",
      "root",
    ]);
    expect(await list(root, { suspendedOnly: true, pageSize: 1 })).to.deep.equal(["olga", "acme/b"]);
    expect(await list(world.by("owen"), { suspendedOnly: true })).to.deep.equal([]);
  });

  it("takes no page token of another caller or other filters", async () => {
    const root = world.council.as("root");
    const { nextPageToken: pageToken } = await root.principals.listPrincipals({ pageSize: 1 });
    const calls = [
      root.principals.listPrincipals({ pageToken, tenant: "acme" }),
      root.principals.listPrincipals({ pageToken, suspendedOnly: true }),
      world.by("eve").principals.listPrincipals({ pageToken }),
      world.by("owen").principals.listPrincipals({ pageToken }),
      root.principals.listPrincipals({ pageToken: `${pageToken}x` }),
      root.principals.listPrincipals({ pageSize: 1001 }),
    ];
    for (const call of calls) expect(await codeOf(call)).to.equal("INVALID_ARGUMENT");
  });

  it("shows one to itself, to its Mentors and to Root, and is silent about the rest", async () => {
    expect((await world.show("", world.by("owen"))).id).to.equal("owen");
    expect((await world.show("owen", world.by("owen"))).id).to.equal("owen");
    expect((await world.show("acme/b", world.by("may"))).suspension?.by).to.equal("root");
    expect((await world.show("witness/ann")).keys).to.have.length(1);
    expect(await codeOf(world.show("may", world.by("owen")))).to.equal("PERMISSION_DENIED");
    expect(await codeOf(world.show("", world.council.as("guest")))).to.equal("INVALID_ARGUMENT");
    for (const id of ["olga", "root", "nobody"]) {
      expect(await codeOf(world.show(id, world.by("may")))).to.equal("NOT_FOUND");
    }
  });
});
