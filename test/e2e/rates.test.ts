/** Rate windows over a real socket: whose checks count for whom, and that a window is what the ledger says. */
import { connect as connectTcp, createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { connect, type BatchCheckResponse, type CheckResponse, type SigilConnection } from "@sigil/client";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { makeDeployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

/** A window that no busy machine outlives. */
const model = { ...defaultModelPayload, rate: { window_ms: 3_600_000, limit: 600 } };

const check = { action: "read", target: "public/docs" };
const checks = (count: number, subject = "") => Array.from({ length: count }, () => ({ ...check, subject }));

/** The rate feature's value: earlier checks in the window of 600. */
const earlierIn = ({ contributions }: CheckResponse): number =>
  Math.round((contributions.find(({ feature }) => feature === "rate")?.value ?? Number.NaN) * 600);

const decisionsIn = ({ results }: BatchCheckResponse): readonly CheckResponse[] =>
  results.flatMap(({ outcome }) => (outcome?.$case === "decision" ? [outcome.value] : []));

/** An anonymous connection that the server sees come from another address of this machine. */
const fromElsewhere = async (served: ServedDeployment): Promise<SigilConnection & AsyncDisposable> => {
  const [host = "", port] = served.server.target.split(":");
  const forwarder = createServer((caller) => {
    const onward = connectTcp({ host, port: Number(port), localAddress: "127.0.0.2" });
    caller.pipe(onward).pipe(caller);
    caller.on("error", () => onward.destroy());
    onward.on("error", () => caller.destroy());
  });
  await new Promise<void>((resolve) => forwarder.listen(0, "127.0.0.1", resolve));
  const address = forwarder.address();
  if (address === null || typeof address === "string") throw new Error("the forwarder has no port");
  const connection = connect({ target: `127.0.0.1:${address.port}`, tls: "insecure" });
  return Object.assign(connection, {
    [Symbol.asyncDispose]: async () => {
      connection.close();
      await new Promise<void>((resolve) => forwarder.close(() => resolve()));
    },
  });
};

describe("rate windows over a socket", () => {
  it("count the items of a batch in order, so that the 601st sees 600", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const operator = served.as("operator");
    expect(earlierIn(await operator.trust.check(check))).to.equal(0);
    const refused = { action: "", target: "public/docs" };
    const asked = [...checks(300), refused, ...checks(350)];
    const answers = decisionsIn(await operator.trust.batchCheck({ checks: asked }));
    const expected = Array.from({ length: 650 }, (_, index) => Math.min(600, index + 1));
    expect(answers.map(earlierIn)).to.deep.equal(expected);
    expect(earlierIn(await operator.trust.check(check))).to.equal(600);
  });

  it("turn from allow to deny inside a batch as they would one after the other", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const hurried = { action: "write", target: "user/notes", input: new TextEncoder().encode("a note") };
    const batch = { checks: Array.from({ length: 601 }, () => hurried) };
    const answers = decisionsIn(await served.as("operator").trust.batchCheck(batch)).map(
      ({ allowed }) => allowed,
    );
    const turn = answers.indexOf(false);
    expect([answers[0], answers.at(-1)]).to.deep.equal([true, false]);
    expect(answers.slice(turn).some(Boolean), "allowed again after a deny").to.equal(false);
  });

  it("count a repeat with an idempotency key once, and a stream's checks each", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const operator = served.as("operator");
    for (let times = 0; times < 3; times += 1) {
      await operator.trust.check({ ...check, idempotencyKey: "one" });
      await operator.trust.batchCheck({ checks: checks(9), idempotencyKey: "nine" });
    }
    const asked = Array.from({ length: 20 }, (_, index) => ({ correlationId: `c${index}`, check }));
    const seen: number[] = [];
    for await (const { outcome } of operator.trust.streamChecks(asked)) {
      if (outcome?.$case === "decision") seen.push(earlierIn(outcome.value));
    }
    expect(seen.toSorted((one, other) => one - other)).to.deep.equal(
      Array.from({ length: 20 }, (_, index) => 10 + index),
    );
    expect(earlierIn(await operator.trust.check(check))).to.equal(30);
  });

  it("keep what others ask about a principal apart from what it asks for itself", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const [operator, mentor] = [served.as("operator"), served.as("mentor")];
    await operator.trust.batchCheck({ checks: checks(650, "mentor") });
    expect(earlierIn(await mentor.trust.check(check))).to.equal(0);
    expect(earlierIn(await operator.trust.check(check)), "a gateway is not one window").to.equal(0);
    expect(earlierIn(await operator.trust.check({ ...check, subject: "mentor" }))).to.equal(600);
    expect(earlierIn(await operator.trust.check({ ...check, subject: "%6Dentor/" })), "respelled").to.equal(
      600,
    );
    expect(earlierIn(await operator.trust.check({ ...check, subject: "observer" }))).to.equal(0);
    await mentor.trust.batchCheck({ checks: checks(40, "observer") });
    expect(earlierIn(await operator.trust.check({ ...check, subject: "observer" }))).to.equal(41);
    expect(
      earlierIn(await operator.trust.check({ ...check, subject: "operator" })),
      "itself by name",
    ).to.equal(1);
  });

  it("keep what one tenant asks about a name apart from what another asks", async () => {
    await using deployment = await makeDeployment({ model, otherTenants: ["umbrella"] });
    await using served = await deployment.serve();
    const other = served.by("operator-umbrella", deployment.privateKeys.operator);
    await other.trust.batchCheck({ checks: checks(50, "visitor") });
    expect(earlierIn(await served.as("operator").trust.check({ ...check, subject: "visitor" }))).to.equal(0);
    expect(earlierIn(await other.trust.check({ ...check, subject: "visitor" }))).to.equal(50);
  });

  it("count anonymous callers by their peer, on whatever connection", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    await using noisy = await fromElsewhere(served);
    const quiet = served.as("guest");
    await noisy.trust.batchCheck({ checks: checks(650) });
    expect(earlierIn(await quiet.trust.check(check))).to.equal(0);
    expect(earlierIn(await served.as("guest").trust.check(check))).to.equal(1);
    expect(earlierIn(await noisy.trust.check(check))).to.equal(600);
  });

  it("count all anonymous callers on a Unix socket as one peer", async () => {
    await using deployment = await makeDeployment({ model });
    const path = join(dirname(deployment.directory), "s.sock");
    await using served = await deployment.serve({ config: { listen: { path } } });
    for (let earlier = 0; earlier < 3; earlier += 1) {
      expect(earlierIn(await served.as("guest").trust.check(check))).to.equal(earlier);
    }
    expect(earlierIn(await served.as("operator").trust.check(check))).to.equal(0);
  });

  it("leave each anonymous peer its own idempotency keys", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    await using bob = await fromElsewhere(served);
    const ann = served.as("guest");
    const asked = { ...check, idempotencyKey: "1" };
    const first = await ann.trust.check(asked);
    const others = await bob.trust.check(asked);
    expect(others).to.include({ replayed: false });
    expect(others.auditId).to.not.equal(first.auditId);
    await bob.trust.check({ ...check, target: "public/other", idempotencyKey: "2" });
    expect(await served.as("guest").trust.check(asked)).to.include({
      replayed: true,
      auditId: first.auditId,
    });
    const conflict = await refusalOf(ann.trust.check({ ...asked, target: "public/other" }));
    expect(conflict.codeName).to.equal("ALREADY_EXISTS");
  });

  it("believe no header about where a caller comes from", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const guest = served.as("guest");
    for (let index = 0; index < 3; index += 1) {
      const headers = { "x-forwarded-for": `10.0.0.${index}`, forwarded: `for=10.0.0.${index}` };
      expect(earlierIn(await guest.trust.check(check, { metadata: headers }))).to.equal(index);
    }
  });

  it("hold what is in the ledger, however many checks were given up on the way to it", async () => {
    await using deployment = await makeDeployment({ model });
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const given = Array.from({ length: 400 }, async (_, index) => {
      const leaving = new AbortController();
      const asked = operator.trust.check(check, { signal: leaving.signal });
      if (index % 8 > 0) setTimeout(() => leaving.abort(), index % 8);
      return asked.then(
        () => "answered",
        () => "given up",
      );
    });
    const ends = await Promise.all(given);
    expect(new Set(ends)).to.deep.equal(new Set(["answered", "given up"]));
    const last = await operator.trust.check(check);
    let [recorded, pageToken] = [0, ""];
    do {
      const page = await operator.audit.listFrozenChains({ principal: "operator", pageToken });
      recorded += page.chains.length;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(earlierIn(last)).to.equal(recorded - 1);
  });

  it("are as full after a restart as before, beyond the newest records", async () => {
    await using deployment = await makeDeployment({ model });
    {
      await using first = await deployment.serve();
      await first.as("operator").trust.batchCheck({ checks: checks(500) });
      await first.as("operator").trust.batchCheck({ checks: checks(200, "mentor") });
      for (let batch = 0; batch < 3; batch += 1) {
        await first.as("guest").trust.batchCheck({ checks: checks(1000) });
      }
    }
    await using second = await deployment.serve();
    const operator = second.as("operator");
    expect(earlierIn(await operator.trust.check(check))).to.equal(500);
    expect(earlierIn(await operator.trust.check({ ...check, subject: "mentor" }))).to.equal(200);
    expect(earlierIn(await second.as("mentor").trust.check(check))).to.equal(0);
    expect(earlierIn(await second.as("guest").trust.check(check)), "no record holds a peer").to.equal(0);
  });
});
