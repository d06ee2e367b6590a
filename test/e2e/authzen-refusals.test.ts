/** What AuthZEN's endpoints refuse: the whole of a request, or an item of it, in plain words. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { mayRead, openAuthzenWorld, type AuthzenWorld, type Tell } from "./authzen-caller.ts";

const one = "/access/v1/evaluation";
const many = "/access/v1/evaluations";

describe("AuthZEN's refusals", () => {
  let world: AuthzenWorld;
  let tell: Tell;

  before(async () => {
    world = await openAuthzenWorld();
    ({ tell } = world);
  });

  after(() => world[Symbol.asyncDispose]());

  const size = async (): Promise<bigint> => (await world.served.as("operator").audit.getCheckpoint({})).size;

  it("refuses a whole request for what is wrong with the whole, and records nothing", async () => {
    const before = await size();
    const evaluations = [mayRead];
    const bodies: readonly unknown[] = [
      { ...mayRead, evaluations: {} },
      { ...mayRead, evaluations: null },
      { evaluations, subject: "alice" },
      { evaluations, context: [] },
      { evaluations, options: [] },
      { evaluations, options: { evaluations_semantic: "first" } },
      { evaluations, options: { evaluations_semantic: null } },
      { ...mayRead, options: { evaluations_semantic: "first" } },
      { evaluations: Array.from({ length: 1001 }, () => mayRead) },
      '{"evaluations":[],"evaluations":[]}',
      JSON.stringify(mayRead).replace('"type":"user"', '"type":"user","\\u0074ype":"admin"'),
      JSON.stringify({ ...mayRead, context: { deep: 0 } }).replace("0}", "[".repeat(200)),
      JSON.stringify({ ...mayRead, context: { number: 0 } }).replace(":0}", ":1e999}"),
      JSON.stringify({ ...mayRead, context: { text: "?" } }).replace("?", "\\ud800"),
      "[]",
      "null",
      " ",
    ];
    for (const body of bodies) {
      const { status, headers, text } = await tell(many, body);
      expect([status, headers.get("content-type")], JSON.stringify(body)?.slice(0, 80)).to.deep.equal([
        400,
        "text/plain; charset=utf-8",
      ]);
      expect(text).not.to.equal("");
    }
    expect(await size()).to.equal(before);
  });

  it("counts what it refuses before it is a call, by the reason", async () => {
    await tell(one, "{}", { "content-type": "text/plain" });
    const metrics = await (await fetch(`${world.served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/^sigil_\w*refus\w*\{[^}]*HTTP_NOT_JSON[^}]*\} [1-9]/m);
  });

  it("refuses alone, and fails in a batch, what has no Sigil name of its own", async () => {
    const names: readonly Readonly<Record<string, unknown>>[] = [
      { subject: { type: "us:er", id: "alice" } },
      { subject: { type: "user", id: "" } },
      { subject: { type: "", id: "alice" } },
      { subject: { type: "user", id: "e\u0301" } },
      { resource: { type: "record", id: "../x" } },
      { resource: { type: "record", id: "x/.." } },
      { resource: { type: "record", id: "a\u0000" } },
      { resource: { type: "record", id: "%2F" } },
      { resource: { type: "record", id: "x".repeat(600) } },
      { action: { name: "read all" } },
      { action: { name: "/read" } },
      { action: { name: "" } },
    ];
    for (const name of names)
      expect((await tell(one, { ...mayRead, ...name })).status, JSON.stringify(name)).to.equal(400);
    const { status, json } = await tell(many, { ...mayRead, evaluations: [...names, {}] });
    expect(status).to.equal(200);
    expect(json.evaluations.at(-1)?.decision).to.equal(true);
    for (const { decision, context } of json.evaluations.slice(0, -1)) {
      expect([decision, context.error.status]).to.deep.equal([false, 400]);
      expect(context.error.message).to.be.a("string").and.not.equal("");
    }
  });

  it("lets those name a subject who may in any check, and nobody whose proof does not hold", async () => {
    const observer = world.telling(world.deployment.signer("observer").token);
    const denied = await observer(one, mayRead);
    expect([denied.status, denied.headers.get("content-type")]).to.deep.equal([
      403,
      "text/plain; charset=utf-8",
    ]);
    const batch = await observer(many, { evaluations: [mayRead] });
    expect([batch.status, batch.json.evaluations[0]?.decision]).to.deep.equal([200, false]);
    expect(batch.json.evaluations[0]?.context.error.status).to.equal(403);
    const single = await observer(many, mayRead);
    expect(single.status).to.equal(403);
    const stranger = world.telling(() => "x.y.z");
    for (const [path, body] of [
      [one, mayRead],
      [many, { evaluations: [mayRead] }],
      [many, { evaluations: [{}] }],
      [one, "{"],
    ] as const) {
      const { status, headers } = await stranger(path, body);
      expect([status, headers.get("www-authenticate")]).to.deep.equal([401, "Bearer"]);
    }
  });
});
