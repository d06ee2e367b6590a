/** The feed over HTTP, as events that go on where they broke off, and as lines of the command line. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, running, servingHere, sigilHere, type Serving } from "./command.ts";
import { makeDeployment } from "./deployment.ts";
import { httpAs, httpConfig, problem, urlOf, type Seen } from "./http-caller.ts";

/** As many events as are asked for, each with its id. */
const eventsOf = async (
  response: Response,
  count: number,
): Promise<readonly { readonly id: string; readonly data: Seen }[]> => {
  const reader = (response.body ?? expect.fail("no body")).pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const whole = /id: (\d+)\ndata: (.*)\n\n/g;
  for (;;) {
    const events = [...text.matchAll(whole)];
    if (events.length >= count) {
      await reader.cancel();
      return events.slice(0, count).map(([, id = "", data = ""]) => ({ id, data: JSON.parse(data) as Seen }));
    }
    const { value, done } = await reader.read();
    if (done) return expect.fail(`the stream ended: ${text}`);
    text += value;
  }
};

describe("the feed over HTTP", () => {
  it("takes its lists from the query, and goes on at the last event's id", async () => {
    await using deployment = await makeDeployment({ otherTenants: ["beta"] });
    await using served = await deployment.serve({ config: httpConfig });
    const as = httpAs(deployment, served);
    const check = { action: "write", target: "secret/keys" };
    for (let asked = 0; asked < 2; asked += 1) await as("guest")("POST", "/trust/check", check);
    const lists =
      "tenants=*&kinds=frozen_chain&kinds=note&verdicts=VERDICT_DENY&proof=RECORD_PROOF_INCLUSION";
    const watch = async (headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
      fetch(`${urlOf(served)}/canon/user:watch?from_position=0&${lists}`, {
        headers: {
          accept: "text/event-stream",
          authorization: `Bearer ${await deployment.signer("root").token()}`,
          ...headers,
        },
      });
    const [beat, first] = await eventsOf(await watch(), 2);
    expect(beat?.data).to.have.nested.property("result.heartbeat.checkpoint");
    expect(first?.data).to.have.nested.property("result.record.record.kind", "frozen_chain");
    expect(first?.data).to.have.nested.property("result.proof.hashes").that.is.not.empty;
    const [again, second] = await eventsOf(await watch({ "last-event-id": first?.id ?? "" }), 2);
    expect(again?.id).to.equal(first?.id);
    expect(BigInt(second?.id ?? "")).to.equal(BigInt(first?.id ?? "") + 1n);
    const refused = await as("observer")("GET", "/canon/user:watch?tenants=*");
    expect(problem(refused)).to.deep.equal([403, "TENANT_FORBIDDEN"]);
  });
});

describe("the feed on the command line", () => {
  let cwd = "";
  let server: Serving | undefined;
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const asRoot = ["--key", "root.pem", "--principal", "root"];

  before(async () => {
    process.umask(0o077);
    cwd = await mkdtemp(join(tmpdir(), "sigil-feed-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "feed.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    await cp(join(cwd, "data.keys/root.pem"), join(cwd, "root.pem"));
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });
  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("prints decisions of everybody by verdict, with their proofs, as they are made", async () => {
    const filters = ["--tenants", "*", "--kinds", "frozen_chain", "--verdict", "deny", "--from", "0"];
    const words = ["canon", "watch", ...filters, "--json", "--proof", ...asRoot];
    await using watch = running(words, { cwd, env: env() });
    await sigilHere(["check", "--action", "write", "--target", "secret/keys"], { cwd, env: env() });
    const [line = ""] = (await watch.printed(/frozen_chain.*\n/)).split("\n");
    const shown = JSON.parse(line) as { readonly inclusionProof: readonly string[] };
    expect(shown.inclusionProof).to.not.be.empty;
    expect(await watch.end("SIGINT")).to.equal(0);
  });

  it("says what is used wrongly", async () => {
    for (const wrong of [
      ["canon", "watch", "--space", "outer", ...asRoot],
      ["canon", "watch", "--space", "user", "--system", ...asRoot],
      ["canon", "watch", "--verdict", "maybe", "--all-kinds", ...asRoot],
      ["canon", "watch", "--proof", ...asRoot],
      ["feed", "grant", "relay", "--tenant", "*", ...asRoot],
      ["feed", "grant", "relay", "--kind", "*", ...asRoot],
      ["feed", "withdraw", "nobody", ...asRoot],
    ]) {
      const { exitCode, problems } = await sigilHere(wrong, { cwd, env: env() });
      expect(exitCode, `${wrong.join(" ")}: ${problems}`).to.equal(2);
    }
    expect((await sigilHere(["feed", "show", ...asRoot], { cwd, env: env() })).exitCode).to.equal(1);
    expect((await sigilHere(["feed", "list", ...asRoot], { cwd, env: env() })).output).to.contain(
      "PRINCIPAL",
    );
  });
});
