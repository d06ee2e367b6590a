/** A webhook of a running server: decisions arrive signed, and a refused record is seen by command and metrics. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readRelays } from "../../src/config/relays.ts";
import { decodeEnvelope, parseRecordStatement } from "../../src/core/record/record.ts";
import { until } from "../contract/relay-world.ts";
import { keyOfMessage, startReceiver, webhookFault } from "../contract/webhook-receiver.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type Report = {
  readonly next: string;
  readonly state: string;
  readonly stopped: readonly { readonly key: string; readonly position: string; readonly pending: number }[];
};

describe("a webhook of a server", () => {
  it("gets each record signed, and shows what it refused until it is resumed", async () => {
    await using deployment = await makeDeployment();
    await using receiver = await startReceiver(undefined);
    const data = deployment.directory;
    const secretFile = join(data, "..", "hook.secret");
    await writeFile(secretFile, `${secret}\n`);
    let isRefusing = true;
    receiver.answer = ({ message }, response) => {
      if (isRefusing && message["sigilposition"] === "0") response.writeHead(422).end();
    };
    const table = {
      name: "hook",
      to: "webhook",
      url: `${receiver.url}/path-secret`,
      secret_file: secretFile,
      private_addresses: ["127.0.0.1", "::1"],
    };
    const config = { relays: readRelays(JSON.stringify([table])) };
    await using served = await deployment.serve({ config });
    const status = async (...words: readonly string[]) =>
      sigilHere(["relay", ...words, "--data", data], { cwd: data });
    const report = async (): Promise<Report | undefined> => {
      const { output } = await status("status", "--json");
      return (JSON.parse(output) as { readonly relays: readonly Report[] }).relays[0];
    };
    const size = () => String(served.server.ledger.reader.size);

    const { auditId } = await served.as("guest").trust.check(question);
    await until(async () => (await report())?.next === size(), "everything sent");
    const decision =
      receiver.accepted.find(({ message }) => keyOfMessage(message) === `public/user/${auditId}`) ??
      expect.fail("no decision");
    expect(webhookFault(decision, secret, Date.now())).to.equal(undefined);
    const { statement } = decodeEnvelope(decision.body);
    expect(parseRecordStatement(statement).body).to.include({ kind: "frozen_chain", id: auditId });

    const [genesis] = receiver.received;
    const key = keyOfMessage(genesis?.message ?? {});
    expect((await report())?.stopped).to.have.length(1);
    expect((await report())?.stopped[0]).to.include({ key, position: "0" });
    const shown = await status("status");
    expect(shown.exitCode).to.equal(1);
    expect(shown.output).to.contain(`hook: stopped at ${key}, position 0`);
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/^sigil_relay_stopped_keys\{relay="hook"\} 1$/m);
    expect(metrics).to.match(/^sigil_relay_failures_total\{relay="hook",kind="poison"\} 1$/m);
    expect(served.logged()).to.contain("relay: stopped at a key");

    isRefusing = false;
    await status("resume", "hook");
    await until(async () => (await report())?.stopped.length === 0, "resumed");
    expect((await status("status")).exitCode).to.equal(0);
    expect(receiver.accepted.map(({ message }) => message["sigilposition"])).to.include("0");
    for (const one of ["path-secret", secret.slice("whsec_".length)]) {
      expect(served.logged()).not.to.contain(one);
      expect(shown.output).not.to.contain(one);
    }
  });
});
