/** Listing and reading decisions over a real socket: filters, order, page tokens, tenants. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { ListOrder, SigilError, Verdict, type ListFrozenChainsRequest } from "@sigil/client";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf } from "./refusal.ts";

describe("AuditService over a socket", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  const made: string[] = [];

  /** The whole walk, page by page. */
  const walk = async (
    request: Partial<ListFrozenChainsRequest>,
    level: "observer" | "operator" | "root" = "observer",
  ): Promise<string[]> => {
    const { audit } = served.as(level);
    const ids: string[] = [];
    for (let pageToken = ""; ;) {
      const page = await audit.listFrozenChains({ ...request, pageToken });
      ids.push(...page.chains.map(({ auditId }) => auditId));
      if (page.nextPageToken === "") return ids;
      pageToken = page.nextPageToken;
    }
  };

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
    const operator = served.as("operator");
    const mentor = served.as("mentor");
    for (let index = 0; index < 60; index += 1) {
      const target = index % 3 === 0 ? `docs/page-${index}` : `user/${index}/notes`;
      const by = index % 2 === 0 ? operator : mentor;
      const action = index % 5 === 0 ? "admin" : "write";
      made.push((await by.trust.check({ action, target })).auditId);
    }
    await served.as("guest").trust.check({ action: "read", target: "public/docs" });
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("lists newest first and oldest first, whatever the page size", async () => {
    for (const pageSize of [1, 7, 60, 1000]) {
      expect(await walk({ pageSize })).to.deep.equal([...made].reverse());
    }
    expect(await walk({ pageSize: 7, order: ListOrder.LIST_ORDER_OLDEST_FIRST })).to.deep.equal(made);
  });

  it("filters by principal, action, target glob, verdict and time, alone and together", async () => {
    const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
    const where = (keep: (index: number) => boolean): string[] => made.filter((_, index) => keep(index));
    expect(await walk({ order, principal: "mentor" })).to.deep.equal(where((index) => index % 2 === 1));
    expect(await walk({ order, action: "admin" })).to.deep.equal(where((index) => index % 5 === 0));
    expect(await walk({ order, targetGlob: "docs/*" })).to.deep.equal(where((index) => index % 3 === 0));
    expect(await walk({ order, targetGlob: "user/**" })).to.deep.equal(where((index) => index % 3 !== 0));
    const denied = await walk({ order, verdict: Verdict.VERDICT_DENY });
    const allowed = await walk({ order, verdict: Verdict.VERDICT_ALLOW });
    const review = await walk({ order, verdict: Verdict.VERDICT_REVIEW });
    expect([...denied, ...allowed, ...review].sort()).to.deep.equal([...made].sort());
    expect(denied.length).to.be.greaterThan(0);
    expect(allowed.length).to.be.greaterThan(0);
    expect(await walk({ order, principal: "operator", action: "admin", pageSize: 1 })).to.deep.equal(
      where((index) => index % 10 === 0),
    );
    const { chain } = await served.as("observer").audit.getFrozenChain({ auditId: made[30] ?? "" });
    const time = chain?.time;
    if (time === undefined) throw new Error("a decision has a time");
    const before30 = await walk({ order, untilTime: time });
    const from30 = await walk({ order, fromTime: time });
    expect([...before30, ...from30]).to.deep.equal(made);
    expect(from30).to.include(made[30]);
    expect(await walk({ principal: "nobody" })).to.deep.equal([]);
  });

  it("pins a walk to the ledger size it began at", async () => {
    const { audit } = served.as("observer");
    const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
    const first = await audit.listFrozenChains({ pageSize: 59, order });
    const late = await served.as("operator").trust.check({ action: "read", target: "public/docs" });
    const second = await audit.listFrozenChains({ pageSize: 59, order, pageToken: first.nextPageToken });
    expect(second.ledgerSize).to.equal(first.ledgerSize);
    expect(second.chains.map(({ auditId }) => auditId)).to.deep.equal([made[59]]);
    expect(second.nextPageToken).to.equal("");
    made.push(late.auditId);
  });

  it("refuses a page token that was altered, or belongs to another caller, filter or order", async () => {
    const { audit } = served.as("observer");
    const { nextPageToken } = await audit.listFrozenChains({ pageSize: 5 });
    const altered = (nextPageToken.startsWith("A") ? "B" : "A") + nextPageToken.slice(1);
    for (const call of [
      audit.listFrozenChains({ pageSize: 5, pageToken: altered }),
      audit.listFrozenChains({ pageSize: 5, pageToken: "!" }),
      audit.listFrozenChains({ pageSize: 5, pageToken: nextPageToken, action: "write" }),
      audit.listFrozenChains({
        pageSize: 5,
        pageToken: nextPageToken,
        order: ListOrder.LIST_ORDER_OLDEST_FIRST,
      }),
      served.as("operator").audit.listFrozenChains({ pageSize: 5, pageToken: nextPageToken }),
    ]) {
      expect(await codeOf(call)).to.equal("INVALID_ARGUMENT");
    }
    expect(await codeOf(audit.listFrozenChains({ pageSize: 5, pageToken: nextPageToken }))).to.equal("OK");
  });

  it("keeps tenants apart, and lets Root of tenant system alone read across", async () => {
    const [auditId = ""] = made;
    expect(await codeOf(served.as("guest").audit.getFrozenChain({ auditId }))).to.equal("NOT_FOUND");
    expect(await codeOf(served.as("root").audit.getFrozenChain({ auditId }))).to.equal("NOT_FOUND");
    expect(await codeOf(served.as("root").audit.getFrozenChain({ auditId, tenant: "acme" }))).to.equal("OK");
    expect(await codeOf(served.as("mentor").audit.getFrozenChain({ auditId, tenant: "public" }))).to.equal(
      "PERMISSION_DENIED",
    );
    expect(await codeOf(served.as("observer").audit.listFrozenChains({ tenant: "public" }))).to.equal(
      "PERMISSION_DENIED",
    );
    expect(await walk({ tenant: "public" }, "root")).to.have.length(1);
  });

  it("refuses a listing to a Guest, naming the level needed", async () => {
    try {
      await served.as("guest").audit.listFrozenChains({});
      expect.fail("a Guest was given a listing");
    } catch (error) {
      expect(error).to.be.instanceOf(SigilError);
      expect((error as SigilError).codeName).to.equal("PERMISSION_DENIED");
      expect((error as SigilError).message).to.contain("observer");
    }
  });

  it("gives a signed checkpoint over the ledger as it stands", async () => {
    const checkpoint = await served.as("guest").audit.getCheckpoint({});
    expect(checkpoint.size).to.equal(served.server.ledger.reader.size);
    expect(checkpoint.checkpoint).to.contain(`${checkpoint.origin}\n${checkpoint.size}\n`);
    expect(checkpoint.publicKey).to.have.length(32);
  });
});
