/**
 * AuthZEN's certification scenario, whole, at the levels Basic Core, Batch Core and Discovery. The numbers are its
 * sections'. Source: github.com/openid/authzen, certification/authorization-api-1_0-scenario.md.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  alice,
  bob,
  mayNotWrite,
  mayRead,
  openAuthzenWorld,
  publicUrl,
  read,
  record1,
  record2,
  write,
  type AuthzenWorld,
  type Tell,
  type Told,
} from "./authzen-caller.ts";

const one = "/access/v1/evaluation";
const many = "/access/v1/evaluations";

/** §2.3, §3.3.3, §5.2. */
const wellFormed = ({ status, headers, json }: Told): Told["json"] => {
  expect(status).to.equal(200);
  expect(headers.get("content-type")).to.equal("application/json");
  for (const each of json.evaluations ?? [json]) {
    expect(each.decision).to.be.a("boolean");
    if ("context" in each) expect(each.context).to.be.an("object");
  }
  return json;
};

const decisions = (told: Told): readonly boolean[] => {
  const { evaluations, ...rest } = wellFormed(told);
  expect(rest).to.deep.equal({});
  return evaluations.map(({ decision }) => decision);
};

describe("AuthZEN's certification scenario", () => {
  let world: AuthzenWorld;
  let tell: Tell;

  before(async () => {
    world = await openAuthzenWorld();
    ({ tell } = world);
  });

  after(() => world[Symbol.asyncDispose]());

  const decision = async (body: unknown): Promise<boolean> => wellFormed(await tell(one, body)).decision;

  const refused = async (path: string, body: unknown, headers = {}): Promise<void> => {
    const { status, headers: sent, text } = await tell(path, body, headers);
    expect(status, JSON.stringify(body)).to.equal(400);
    expect(sent.get("content-type")).to.equal("text/plain; charset=utf-8");
    expect(text)
      .to.match(/\w/)
      .and.not.to.match(/^[{["]/);
  };

  it("Basic Core 2.2.1, 2.2.2: decides the fixture's requests", async () => {
    expect(await decision(mayRead)).to.equal(true);
    expect(await decision(mayNotWrite)).to.equal(false);
    // Rules 2 and 3 of §1.4.
    expect(await decision({ ...mayRead, action: write })).to.equal(true);
    expect(await decision({ ...mayRead, subject: bob })).to.equal(true);
  });

  it("Basic Core 2.2.3, 2.2.8, 2.2.9: takes context, more properties and unknown fields, and decides the same", async () => {
    const context = { time: "2025-06-27T18:03-07:00", ip: "192.168.1.1" };
    expect(await decision({ ...mayRead, context })).to.equal(true);
    const withProperties = {
      subject: { ...alice, properties: { department: "Sales", role: "manager" } },
      action: { ...read, properties: { method: "GET" } },
      resource: { ...record1, properties: { status: "active", owner: "bob" } },
    };
    expect(await decision(withProperties)).to.equal(true);
    expect(await decision({ ...mayRead, foo: "bar", futureField: { nested: true } })).to.equal(true);
  });

  it("Basic Core 2.4.1, 2.4.2: refuses what lacks a field", async () => {
    for (const field of ["subject", "action", "resource"] as const) {
      const { [field]: _, ...rest } = mayRead;
      await refused(one, rest);
    }
    await refused(one, { ...mayRead, subject: { id: "alice" } });
    await refused(one, { ...mayRead, subject: { type: "user" } });
    await refused(one, { ...mayRead, action: {} });
    await refused(one, { ...mayRead, resource: { id: "record-1" } });
    await refused(one, { ...mayRead, resource: { type: "record" } });
  });

  it("Basic Core 2.4.3 to 2.4.6: refuses another content type, no JSON, nothing, and wrong types", async () => {
    await refused(one, JSON.stringify(mayRead), { "content-type": "text/plain" });
    await refused(one, '{"subject":');
    await refused(one, "");
    await refused(one, { ...mayRead, subject: "alice" });
    await refused(one, { ...mayRead, action: { name: 123 } });
  });

  it("Basic Core 2.5: gives back X-Request-ID, and does without", async () => {
    const id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716";
    const told = await tell(one, mayRead, { "x-request-id": id });
    expect([told.status, told.headers.get("x-request-id")]).to.deep.equal([200, id]);
    const failed = await tell(one, "", { "x-request-id": id });
    expect([failed.status, failed.headers.get("x-request-id")]).to.deep.equal([400, id]);
    expect((await tell(one, mayRead)).status).to.equal(200);
  });

  it("Basic Core 2.6: decides the same each time", async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      expect(await decision(mayRead)).to.equal(true);
      expect(await decision(mayNotWrite)).to.equal(false);
    }
  });

  it("Batch Core 3.2.1, 3.2.2, 3.2.5, 3.3: decides each evaluation, in order", async () => {
    const evaluations = [{ resource: record1 }, { resource: record2 }];
    expect(decisions(await tell(many, { subject: alice, action: read, evaluations }))).to.have.length(2);
    const byAction = { subject: bob, resource: record1, evaluations: [{ action: read }, { action: write }] };
    expect(decisions(await tell(many, byAction))).to.deep.equal([true, false]);
    const whole = { evaluations: [mayRead, mayNotWrite] };
    expect(decisions(await tell(many, whole))).to.deep.equal([true, false]);
  });

  it("Batch Core 3.2.6: takes a context for all and one for an evaluation", async () => {
    const evaluations = [
      { resource: record1 },
      { resource: record2, context: { time: "2025-06-27T19:00-07:00", source: "batch-override" } },
    ];
    const body = {
      subject: alice,
      action: read,
      context: { time: "2025-06-27T18:03-07:00" },
      evaluations,
    };
    expect(decisions(await tell(many, body))).to.have.length(2);
  });

  it("Batch Core 3.4: answers for one that is wrong, and is a single evaluation without any", async () => {
    const body = { subject: alice, action: read, evaluations: [{ resource: record1 }, {}] };
    expect(decisions(await tell(many, body))).to.deep.equal([true, false]);
    await refused(many, '{"evaluations":[');
    for (const single of [mayRead, { ...mayRead, evaluations: [] }]) {
      const json = wellFormed(await tell(many, single));
      expect([json.decision, json.evaluations]).to.deep.equal([true, undefined]);
    }
  });

  it("Discovery 6: says where its endpoints are, by its configured URL", async () => {
    for (const path of ["/.well-known/authzen-configuration/tenant1", "/.well-known/authzen-configuration"]) {
      const { status, headers, text } = await world.telling()(path);
      expect([status, headers.get("content-type")]).to.deep.equal([200, "application/json"]);
      expect(JSON.parse(text)).to.deep.equal({
        policy_decision_point: publicUrl,
        access_evaluation_endpoint: `${publicUrl}/access/v1/evaluation`,
        access_evaluations_endpoint: `${publicUrl}/access/v1/evaluations`,
      });
    }
    for (const [path, body] of [
      ["/tenant1/access/v1/evaluation", mayRead],
      ["/tenant1/access/v1/evaluations", mayRead],
    ] as const)
      expect(wellFormed(await tell(path, body)).decision).to.equal(true);
  });
});
