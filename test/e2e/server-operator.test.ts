/** The operator's port of a running server: liveness, readiness, metrics. */
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilError } from "@sigil/client";
import { openLevelStore } from "../../src/storage/level.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { makeDeployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };

const get = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text() };
};

/** The value of a metric's series, or undefined. */
const valueOf = (text: string, series: string): number | undefined => {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
};

describe("the operator's port", () => {
  it("tells that the process lives and that it serves, and nothing else", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { operatorUrl } = served.server;
    expect(await get(`${operatorUrl}/healthz`)).to.deep.equal({ status: 200, text: "ok\n" });
    expect(await get(`${operatorUrl}/readyz?verbose`)).to.deep.equal({ status: 200, text: "ready\n" });
    expect((await get(`${operatorUrl}/`)).status).to.equal(404);
    expect((await get(`${operatorUrl}/metrics`, { method: "POST", body: "x" })).status).to.equal(405);
    expect(
      (await get(`${operatorUrl}/healthz`, { headers: { filler: "x".repeat(10_000) } })).status,
    ).to.equal(431);
  });

  it("counts calls by method and code, verdicts, groups and the ledger", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const guest = served.as("guest");
    await guest.trust.check(question);
    await guest.trust.check({ action: "delete", target: "user/profile" });
    await guest.trust.check({ action: "", target: "" }).catch(SigilError.from);
    const { text } = await get(`${served.server.operatorUrl}/metrics`);
    const calls = 'sigil_rpc_duration_seconds_count{method="/sigil.trust.v1.TrustService/Check",code=';
    expect(valueOf(text, `${calls}"OK"}`)).to.equal(2);
    expect(valueOf(text, `${calls}"INVALID_ARGUMENT"}`)).to.equal(1);
    expect(valueOf(text, 'sigil_verdicts_total{verdict="allow"}')).to.equal(1);
    expect(valueOf(text, 'sigil_verdicts_total{verdict="deny"}')).to.equal(1);
    expect(valueOf(text, "sigil_commit_group_records_count")).to.equal(2);
    expect(valueOf(text, "sigil_append_queue_records")).to.equal(0);
    expect(valueOf(text, "sigil_ledger_serving")).to.equal(1);
    expect(valueOf(text, "sigil_ledger_records")).to.equal(Number(served.server.ledger.reader.size));
    expect(text).to.contain("process_cpu_seconds_total");
  });

  it("is not ready, and health says NOT_SERVING, while the ledger checks itself after a store error", async () => {
    await using deployment = await makeDeployment();
    const stores: FaultyStore[] = [];
    const mayReopen = Promise.withResolvers<void>();
    const openStore = async () => {
      if (stores.length > 0) await mayReopen.promise;
      const store = createFaultyStore(await openLevelStore(join(deployment.directory, "ledger")));
      stores.push(store);
      return store;
    };
    await using served = await deployment.serve({ overrides: { openStore } });
    const guest = served.as("guest");
    stores[0]?.plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    const error = await guest.trust.check(question).catch(SigilError.from);
    expect(error instanceof SigilError && error.reason).to.equal("INDETERMINATE");
    const { operatorUrl } = served.server;
    expect(await guest.health("sigil.trust.v1.TrustService")).to.equal("NOT_SERVING");
    expect(await get(`${operatorUrl}/readyz`)).to.deep.equal({
      status: 503,
      text: "not ready: ledger is recovering\n",
    });
    expect(await get(`${operatorUrl}/healthz`)).to.deep.equal({ status: 200, text: "ok\n" });
    expect(valueOf((await get(`${operatorUrl}/metrics`)).text, "sigil_ledger_serving")).to.equal(0);
    mayReopen.resolve();
    while ((await guest.health()) !== "SERVING") await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await get(`${operatorUrl}/readyz`)).status).to.equal(200);
    expect((await guest.trust.check(question)).allowed).to.equal(true);
  });
});
