/** AuthZEN over a real socket: what it decides and records, in which order, and what it refuses. */
import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { evaluate } from "../../src/core/model/model.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import {
  alice,
  bob,
  mayNotWrite,
  mayRead,
  openAuthzenWorld,
  read,
  record1,
  record2,
  write,
  type AuthzenWorld,
  type Tell,
  type Told,
} from "./authzen-caller.ts";
import { urlOf } from "./http-caller.ts";
import { blocksOf } from "./page.ts";

const one = "/access/v1/evaluation";
const many = "/access/v1/evaluations";
const carol = { type: "user", id: "carol" };

const digestOf = (unread: Parameters<typeof cborEncode>[0]): string =>
  createHash("sha256").update(cborEncode(unread)).digest("hex");

describe("AuthZEN", () => {
  let world: AuthzenWorld;
  let tell: Tell;
  let broken: Evaluate | undefined;

  before(async () => {
    const evaluator: Evaluate = (...asked) =>
      (broken ?? ((model, features) => evaluate(model, features)))(...asked);
    world = await openAuthzenWorld({}, { evaluate: evaluator });
    ({ tell } = world);
  });

  after(() => world[Symbol.asyncDispose]());

  const size = async (): Promise<bigint> => (await world.served.as("operator").audit.getCheckpoint({})).size;
  const chainOf = async (auditId: string) =>
    (await world.served.as("operator").audit.getFrozenChain({ auditId })).chain;
  const decisions = ({ json }: Told): readonly boolean[] => json.evaluations.map(({ decision }) => decision);

  it("decides as Check does, by names that are made of type and id, and says why", async () => {
    const { json } = await tell(one, mayRead, { "x-request-id": "an-id" });
    const { audit_id: auditId, ...context } = json.context;
    const asked = { action: "read", target: "record:record-1", subject: "user:alice" };
    const check = await world.served.as("operator").trust.check(asked);
    const chain = await chainOf(auditId);
    expect(chain).to.include({ ...asked, caller: "operator" });
    expect(chain?.metadata).to.deep.equal({ request_id: "an-id" });
    expect(context).to.deep.equal({ verdict: "allow", reason: check.reason, score: chain?.score });
  });

  it("answers what its page prints", async () => {
    const [asked, printed] = blocksOf("docs/operating/authzen.md").map(
      ({ body }) => JSON.parse(body) as unknown,
    );
    const { json } = await tell(one, asked);
    const { context, decision } = printed as Told["json"];
    expect(json).to.have.all.keys(Object.keys(printed as object));
    expect(json.context).to.have.all.keys(Object.keys(context));
    const changing = { audit_id: "", score: 0 };
    expect({ ...json, context: { ...json.context, ...changing } }).to.deep.equal({
      decision,
      context: { ...context, ...changing },
    });
  });

  it("records a digest of properties and context, which change neither score nor entropy, and says so", async () => {
    const context = { ip: "10.0.0.1", nested: { list: [1, 2.5, null, true, "é"] } };
    const body = {
      subject: { ...carol, properties: { role: "admin" } },
      action: read,
      resource: { ...record1, properties: {} },
      context,
    };
    const plain = await tell(one, { ...mayRead, subject: carol });
    const { json } = await tell(one, body);
    const digest = digestOf({ subject: { role: "admin" }, resource: {}, context });
    expect(json.context).to.deep.include({
      authzen_digest: digest,
      not_evaluated: ["subject.properties", "resource.properties", "context"],
    });
    expect(plain.json.context).not.to.have.any.keys("authzen_digest", "not_evaluated");
    const [first, second] = [
      await chainOf(plain.json.context.audit_id),
      await chainOf(json.context.audit_id),
    ];
    expect(second?.metadata["authzen_digest"]).to.equal(digest);
    expect(first?.metadata).not.to.have.property("authzen_digest");
    const features = second?.features ?? [];
    const named = (name: string) => features.find(({ feature }) => feature === name);
    expect(named("entropy")?.value).to.equal(0);
    for (const { feature, value } of first?.features ?? [])
      if (feature !== "rate") expect(named(feature)?.value, feature).to.equal(value);
    expect(second?.score).to.equal(json.context.score);
    const idle = first?.features.find(({ feature }) => feature === "rate")?.contribution ?? 0;
    expect((second?.z ?? 0) - (first?.z ?? 0)).to.be.closeTo(
      (named("rate")?.contribution ?? 0) - idle,
      1e-12,
    );
    expect(second?.inputBytes).to.equal(0n);
  });

  it("keeps of each evaluation of a batch the digest of its own", async () => {
    const body = {
      subject: alice,
      action: read,
      context: { of: "all" },
      evaluations: [
        { resource: record1 },
        { resource: record2 },
        { resource: record1, context: { of: "one" } },
        {},
        { resource: record1, context: {} },
      ],
    };
    const { json } = await tell(many, body);
    const [first, second, third, fourth, fifth] = json.evaluations;
    expect(first?.context.authzen_digest).to.equal(digestOf({ context: { of: "all" } }));
    expect(second?.context.authzen_digest).to.equal(first?.context.authzen_digest);
    expect(third?.context.authzen_digest).to.equal(digestOf({ context: { of: "one" } }));
    expect(fifth?.context.authzen_digest).to.equal(digestOf({ context: {} }));
    expect(fourth?.context.error.status).to.equal(400);
    for (const { context } of [first, third, fifth].map((each) => each ?? json))
      expect((await chainOf(context.audit_id))?.metadata["authzen_digest"]).to.equal(context.authzen_digest);
  });

  it("answers a review with false, and says that it is one", async () => {
    const { json } = await tell(one, { subject: carol, action: { name: "inspect" }, resource: record1 });
    expect(json).to.deep.include({ decision: false });
    expect(json.context).to.include({ verdict: "review", reason: "REVIEW_BAND" });
  });

  it("denies when the evaluator fails, and records it", async () => {
    broken = () => {
      throw new Error("broken");
    };
    try {
      const { status, json } = await tell(one, mayRead);
      expect([status, json.decision, json.context.reason]).to.deep.equal([200, false, "EVALUATOR_ERROR"]);
      expect((await chainOf(json.context.audit_id))?.reason).to.equal("EVALUATOR_ERROR");
    } finally {
      broken = undefined;
    }
  });

  it("decides execute_all in one commit, and the others one after the other, only what is reached", async () => {
    const evaluations = [mayRead, mayNotWrite, { ...mayRead, resource: record2 }];
    const under = async (semantic: string): Promise<readonly [readonly boolean[], bigint]> => {
      const before = await size();
      const told = await tell(many, { evaluations, options: { evaluations_semantic: semantic } });
      return [decisions(told), (await size()) - before];
    };
    expect(await under("execute_all")).to.deep.equal([[true, false, true], 3n]);
    expect(await under("deny_on_first_deny")).to.deep.equal([[true, false], 2n]);
    expect(await under("permit_on_first_permit")).to.deep.equal([[true], 1n]);
    const denied = { evaluations: [mayNotWrite, {}, mayRead, mayNotWrite] };
    const options = { evaluations_semantic: "permit_on_first_permit" };
    expect(decisions(await tell(many, { ...denied, options }))).to.deep.equal([false, false, true]);
    const failing = {
      evaluations: [mayRead, {}, mayRead],
      options: { evaluations_semantic: "deny_on_first_deny" },
    };
    const { json } = await tell(many, failing);
    expect(json.evaluations.map(({ decision }) => decision)).to.deep.equal([true, false]);
    expect(json.evaluations[1]?.context.error.status).to.equal(400);
    expect(decisions(await tell(many, { evaluations, options: { other: 1 } }))).to.have.length(3);
  });

  it("decides a long sequence, one call after the other, and takes it as one request", async () => {
    const evaluations = Array.from({ length: 40 }, () => mayRead);
    const options = { evaluations_semantic: "deny_on_first_deny" };
    const told = await tell(many, { evaluations, options }, { "x-request-id": "sequence" });
    expect(decisions(told)).to.have.length(40).and.not.to.include(false);
    const ids = told.json.evaluations.map(({ context }) => context.audit_id);
    expect(new Set(ids).size).to.equal(40);
    expect((await chainOf(ids.at(-1) ?? ""))?.metadata["request_id"]).to.equal("sequence");
  });

  it("takes an item's member whole, and its absence alone as the default", async () => {
    const evaluations = [
      { resource: { id: "record-1" } },
      { resource: null },
      { subject: null },
      "record-1",
      { subject: bob, action: write },
      {},
    ];
    const { json } = await tell(many, { ...mayRead, evaluations });
    expect(json.evaluations.map(({ decision }) => decision)).to.deep.equal([
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
    expect(json.evaluations.slice(0, 4).map(({ context }) => context.error.status)).to.deep.equal([
      400, 400, 400, 400,
    ]);
    expect(json.evaluations[4]?.context.verdict).to.equal("deny");
  });

  it("makes a repeat safe by Idempotency-Key, also of what no model reads", async () => {
    const headers = { "idempotency-key": "the-key" };
    const context = { n: 1 };
    const first = await tell(one, { ...mayRead, context }, headers);
    const again = await tell(one, { ...mayRead, context }, headers);
    expect(again.json).to.deep.equal(first.json);
    expect((await tell(one, { ...mayRead, context: { n: 2 } }, headers)).status).to.equal(409);
    const batch = { evaluations: [mayRead, {}, mayNotWrite] };
    const whole = await tell(many, batch, headers);
    expect((await tell(many, batch, headers)).json).to.deep.equal(whole.json);
    const options = { evaluations_semantic: "deny_on_first_deny" };
    expect((await tell(many, { ...batch, options }, headers)).status).to.equal(400);
  });

  it("gives X-Request-ID back whatever it says, and records one that is fit for it", async () => {
    const id = `any "text", ${"x".repeat(300)}`;
    const { headers, json } = await tell(one, mayRead, { "x-request-id": id });
    expect(headers.get("x-request-id")).to.equal(id);
    expect((await chainOf(json.context.audit_id))?.metadata["request_id"]).to.match(/^[\w.~:-]+$/);
    const { headers: own, json: plain } = await tell(one, mayRead);
    const recorded = (await chainOf(plain.context.audit_id))?.metadata["request_id"];
    expect(own.get("x-request-id")).to.equal(recorded);
  });

  it("is counted and logged as the calls that it makes", async () => {
    await tell(one, mayRead, { "x-request-id": "counted-one" });
    await tell(many, { evaluations: [mayRead] }, { "x-request-id": "counted-many" });
    const lines = world.served.logged().split("\n");
    const of = (id: string) => lines.filter((line) => line.includes(`"request_id":"${id}"`)).join("");
    expect(of("counted-one")).to.include("TrustService/Check");
    expect(of("counted-many")).to.include("TrustService/BatchCheck");
  });

  it("ends at its caller's time, whatever is left of a sequence", async () => {
    broken = () => new Promise(() => {});
    try {
      const options = { evaluations_semantic: "permit_on_first_permit" };
      const late = await tell(
        many,
        { evaluations: [mayRead, mayRead], options },
        { "sigil-timeout-ms": "1" },
      );
      expect(late.status).to.equal(504);
    } finally {
      broken = undefined;
    }
  });

  it("decides no more of a sequence when its caller has gone", async () => {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    let count = 0;
    broken = async (model, features) => {
      count += 1;
      reached.resolve();
      await gate.promise;
      return evaluate(model, features);
    };
    const left = new AbortController();
    const call = fetch(urlOf(world.served) + many, {
      method: "POST",
      body: JSON.stringify({
        evaluations: [mayRead, mayRead, mayRead],
        options: { evaluations_semantic: "deny_on_first_deny" },
      }),
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${await world.deployment.signer("operator").token()}`,
        "x-request-id": "left",
      },
      signal: left.signal,
    });
    await reached.promise;
    left.abort();
    await call.catch(() => {});
    const ended = () =>
      world.served
        .logged()
        .split("\n")
        .filter((line) => line.includes('"request_id":"left"'));
    for (let turn = 0; turn < 500 && ended().length === 0; turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    gate.resolve();
    broken = undefined;
    await tell(one, mayRead);
    expect(ended().join("\n")).to.include('"code":"CANCELLED"');
    expect([ended().length, count]).to.deep.equal([1, 1]);
  });

  it("has no search, no other methods, no other path and no metadata but its own", async () => {
    for (const kind of ["subject", "resource", "action"])
      expect((await tell(`/access/v1/search/${kind}`, mayRead)).status).to.equal(404);
    for (const path of [one, many]) {
      const { status, headers } = await tell(path);
      expect([status, headers.get("allow")]).to.deep.equal([405, "POST"]);
    }
    for (const path of ["/.well-known/authzen-configuration/other", "/access/v1/evaluation/", "/access/v1"])
      expect((await tell(path)).status).to.equal(404);
    await using other = await openAuthzenWorld({ public_url: "" });
    expect((await other.tell("/.well-known/authzen-configuration")).status).to.equal(404);
    expect((await other.tell(one, mayRead)).json.decision).to.equal(true);
  });

  it("names its endpoints by its configuration, whatever Host says", async () => {
    const { port } = new URL(urlOf(world.served));
    const text = await new Promise<string>((resolve, reject) => {
      const headers = {
        host: "localhost:1",
        "x-forwarded-host": "evil.example",
        forwarded: "host=evil.example",
      };
      httpRequest(
        { host: "127.0.0.1", port, path: "/.well-known/authzen-configuration", headers },
        (response) => {
          let body = "";
          response.on("data", (chunk: Buffer) => (body += chunk.toString()));
          response.on("end", () => resolve(body));
        },
      )
        .on("error", reject)
        .end();
    });
    expect(text)
      .to.include("https://pdp.example.com/tenant1")
      .and.not.to.match(/localhost|evil/);
  });

  it("names subjects, actions and resources as it is configured", async () => {
    await using other = await openAuthzenWorld({
      "authzen.subject_type": "account",
      "authzen.resource_type": "path",
      "authzen.action_prefix": "file.",
    });
    const body = {
      subject: { type: "account", id: "mentor" },
      action: { name: "read" },
      resource: { type: "path", id: "public/docs" },
    };
    const { json } = await other.tell(one, body);
    const { chain } = await other.served
      .as("operator")
      .audit.getFrozenChain({ auditId: json.context.audit_id });
    expect(chain).to.include({ subject: "mentor", action: "file.read", target: "public/docs" });
    expect(json.decision).to.equal(true);
  });
});
