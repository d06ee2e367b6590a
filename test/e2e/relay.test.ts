/** Relays of a running server: what it decides leaves it in ledger order, and a dead destination holds up nobody. */
import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { readRelays } from "../../src/config/relays.ts";
import { fromBase64 } from "../../src/core/bytes.ts";
import { parseCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { parseNote } from "../../src/core/merkle/note.ts";
import { decodeEnvelope, parseRecordStatement } from "../../src/core/record/record.ts";
import { natsMissing, startNats, type Nats } from "../contract/nats-server.ts";
import { readFileMessages } from "../contract/relay-messages.ts";
import { until } from "../contract/relay-world.ts";
import { sigilHere } from "./command.ts";
import { Council } from "./council.ts";
import { canaries, fill, orderErasure, untilErased } from "./erased-world.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };

const relaysOf = (...tables: readonly object[]) => ({ relays: readRelays(JSON.stringify(tables)) });

const untilPublished = (served: ServedDeployment, directory: string): Promise<void> =>
  until(
    async () => BigInt((await readFileMessages(directory)).length) === served.server.ledger.reader.size,
    "everything published",
  );

type Report = {
  readonly state: string;
  readonly lag: string;
  readonly generation: number;
  readonly error: string | null;
};

const relay = async (deployment: Deployment, ...words: readonly string[]) => {
  const ended = await sigilHere(["relay", ...words, "--data", deployment.directory, "--json"], {
    cwd: deployment.directory,
  });
  const reports =
    ended.output === "" ? [] : (JSON.parse(ended.output) as { readonly relays: readonly Report[] }).relays;
  return { ...ended, reports };
};

const outside = (deployment: Deployment, name: string): string => join(deployment.directory, "..", name);

describe("the relays of a server", () => {
  it("publish every record from position 0 on, decisions too, each as its own envelope", async () => {
    await using deployment = await makeDeployment();
    const directory = outside(deployment, "events");
    const config = relaysOf({ name: "siem", to: "files", directory });
    await using served = await deployment.serve({ config });
    const { auditId } = await served.as("guest").trust.check(question);
    await untilPublished(served, directory);
    const events = await readFileMessages(directory);
    expect(events.map(({ sigilposition }) => sigilposition)).to.deep.equal(events.map((_, at) => String(at)));
    const bodies = events.map(({ data_base64: data }) => {
      const { statement } = decodeEnvelope(fromBase64(String(data)));
      return parseRecordStatement(statement).body;
    });
    expect(bodies[0]?.kind).to.equal("genesis");
    expect(bodies.at(-1)).to.include({ kind: "frozen_chain", id: auditId, tenant: "public" });
    expect(events.at(-1)).to.include({
      type: "sigil.record.frozen_chain.v2",
      subject: `public/user/${auditId}`,
    });
    const note = Buffer.from(String(events.at(-1)?.["sigilcheckpoint"]), "base64").toString();
    expect(parseCheckpoint(parseNote(note).text).size).to.equal(BigInt(events.length));
    expect((await stat(join(deployment.directory, "relay.sock"))).mode & 0o777).to.equal(0o600);
  });

  it("go on where they were after a restart, and publish what a filter lets through", async () => {
    await using deployment = await makeDeployment();
    const [all, some] = [outside(deployment, "all"), outside(deployment, "some")];
    const config = relaysOf(
      { name: "all", to: "files", directory: all },
      {
        name: "some",
        to: "files",
        directory: some,
        kinds: ["frozen_chain"],
        data: "metadata",
        format: "json",
      },
    );
    for (let round = 0; round < 2; round += 1) {
      await using served = await deployment.serve({ config });
      await served.as("guest").trust.check(question);
      await untilPublished(served, all);
      await until(async () => (await readFileMessages(some)).length === round + 1, "the decisions");
    }
    const decisions = await readFileMessages(some);
    expect(decisions[1]?.["sigilprev"]).to.equal(decisions[0]?.["sigilposition"]);
    expect(decisions.some((one) => "sigilcheckpoint" in one)).to.equal(false);
    expect(decisions[1]?.["data"])
      .to.include({ kind: "frozen_chain", tenant: "public" })
      .and.not.have.property("payload");
  });

  it("that reach nothing are said by metrics, log and command, and hold up neither checks nor readiness", async () => {
    await using deployment = await makeDeployment();
    const directory = outside(deployment, "events");
    // A file stands where the directory should be.
    await writeFile(directory, "");
    const config = relaysOf({ name: "siem", to: "files", directory });
    await using served = await deployment.serve({ config });
    expect((await served.as("guest").trust.check(question)).verdict).to.equal(1);
    await until(async () => (await relay(deployment, "status")).reports[0]?.state === "waiting", "waiting");
    const { exitCode, reports } = await relay(deployment, "status");
    expect(exitCode).to.equal(1);
    expect(reports[0]?.error).to.match(/^re[a-z]+: cannot write below .*events: E[A-Z]+$/);
    const text = async (path: string) => (await fetch(served.server.operatorUrl + path)).text();
    expect(await text("/readyz")).to.equal("ready\n");
    const metrics = await text("/metrics");
    expect(metrics).to.match(/^sigil_relay_running\{relay="siem"\} 0$/m);
    expect(metrics).to.match(/^sigil_relay_lag_records\{relay="siem"\} [1-9]/m);
    expect(metrics).to.match(/^sigil_relay_lag_seconds\{relay="siem"\} [0-9.]+$/m);
    expect(served.logged()).to.contain("relay: nothing is published for now");
  });

  it("are paused, resumed and reset by whoever may open the socket in the data directory", async () => {
    await using deployment = await makeDeployment();
    const directory = outside(deployment, "events");
    const config = relaysOf({ name: "siem", to: "files", directory });
    await using served = await deployment.serve({ config });
    await untilPublished(served, directory);
    const before = (await readFileMessages(directory)).length;
    expect((await relay(deployment, "pause", "siem")).exitCode).to.equal(0);
    await served.as("guest").trust.check(question);
    expect((await relay(deployment, "status")).reports[0]).to.include({ state: "paused", lag: "1" });
    expect(await readFileMessages(directory)).to.have.length(before);
    await relay(deployment, "resume", "siem");
    await untilPublished(served, directory);
    expect((await relay(deployment, "reset", "siem", "--to", "2")).reports[0]).to.include({ generation: 2 });
    const size = Number(served.server.ledger.reader.size);
    await until(async () => (await readFileMessages(directory)).length === size * 2 - 2, "published again");
  });

  it("publish records of an erased tenant without data from then on, and go on after one that was the newest", async () => {
    let directory = "";
    const serve = (data: string) => {
      directory = join(data, "..", "events");
      return { config: relaysOf({ name: "siem", to: "files", directory }) };
    };
    await using council = await Council.open({ otherTenants: ["beta"] }, serve);
    await fill(council);
    await untilPublished(council.served, directory);
    const { length: newest } = await readFileMessages(directory);
    await relay(council.deployment, "pause", "siem");
    const proposal = await orderErasure(council);
    await council.attest(proposal, "ann");
    await council.approve(proposal, "ben");
    await untilErased(council);
    await council.restart(serve(council.deployment.directory));
    await relay(council.deployment, "resume", "siem");
    await untilPublished(council.served, directory);
    expect((await readFileMessages(directory))[newest - 1]).to.include.keys("data_base64", "subject");
    await relay(council.deployment, "reset", "siem", "--to", "0");
    const size = Number(council.served.server.ledger.reader.size);
    const again = async () =>
      (await readFileMessages(directory)).filter(({ sigilgeneration }) => sigilgeneration === "2");
    await until(async () => (await again()).length === size, "published again");
    const events = await again();
    expect(events.map(({ sigilposition }) => sigilposition)).to.deep.equal(
      Array.from({ length: size }, (_, at) => String(at)),
    );
    expect(events.filter(({ type }) => type === "sigil.erased.v1")).to.have.length.above(20);
    expect(events[newest - 1])
      .to.include({ type: "sigil.erased.v1" })
      .and.not.have.any.keys("data_base64", "subject");
    const text = JSON.stringify(events);
    for (const one of canaries) expect(text).not.to.contain(one.toString());
  });

  it("are told apart by name, and a position that is not there is refused", async () => {
    await using deployment = await makeDeployment();
    const config = relaysOf({ name: "siem", to: "files", directory: outside(deployment, "events") });
    await using served = await deployment.serve({ config });
    await untilPublished(served, outside(deployment, "events"));
    const unknown = await relay(deployment, "pause", "other");
    expect(unknown).to.include({ exitCode: 2 });
    expect(unknown.problems).to.contain('there is no relay "other"; there are: siem');
    const beyond = await relay(deployment, "reset", "siem", "--to", "1000000");
    expect(beyond.problems).to.contain("to must be a position from 0 to");
    const nobody = await sigilHere(["relay", "status", "--data", "elsewhere"], { cwd: deployment.directory });
    expect(nobody).to.include({ exitCode: 2 });
    expect(nobody.problems).to.contain("no server with relays answers");
  });

  it("leave a data directory that opens again after a kill, with the socket of the dead server", async () => {
    await using deployment = await makeDeployment();
    const directory = outside(deployment, "events");
    await mkdir(join(deployment.directory, "relay"), { mode: 0o700 });
    await writeFile(join(deployment.directory, "relay.sock"), "", { mode: 0o600 });
    await writeFile(join(deployment.directory, "relay", "siem.json"), "half a curs", { mode: 0o600 });
    const config = relaysOf({ name: "siem", to: "files", directory });
    await using served = await deployment.serve({ config });
    await untilPublished(served, directory);
  });
});

describe(`a relay of a server to NATS${natsMissing === undefined ? "" : ` (${natsMissing})`}`, () => {
  let nats: Nats | undefined;
  before(async function () {
    if (natsMissing !== undefined) return this.skip();
    nats = await startNats({ sync: "always" });
  });
  after(() => nats?.[Symbol.asyncDispose]());

  it("makes a stream that holds every record of the ledger, under subjects by tenant, space and kind", async () => {
    const url = nats?.url ?? "";
    await using deployment = await makeDeployment();
    const config = relaysOf({ name: "bus", to: "nats", servers: [url], stream: "SIGIL" });
    await using served = await deployment.serve({ config });
    for (let calls = 0; calls < 20; calls += 1) await served.as("guest").trust.check(question);
    const { size } = served.server.ledger.reader;
    const connection = await connect({ servers: url });
    try {
      const { streams } = await jetstreamManager(connection);
      await until(
        async () => (await streams.info("SIGIL").catch(() => null))?.state.messages === Number(size),
        "everything published",
      );
      const { config: made, state } = await streams.info("SIGIL");
      expect(made).to.include({ storage: "file", allow_atomic: true });
      const last = await streams.getMessage("SIGIL", { seq: state.last_seq });
      expect(last?.subject).to.equal("sigil.public.user.frozen_chain");
      expect(last?.header.get("ce-sigilposition")).to.equal(String(size - 1n));
    } finally {
      await connection.close();
    }
  });
});
