/**
 * The replay test over a broker: a golden ledger through a relay's stream in NATS into PostgreSQL, and again from
 * position 0; resumed, followed over a restart of the broker, and what stops it.
 */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { openNatsStream } from "../../src/cli/project/nats-source.ts";
import { toHex } from "../../src/core/bytes.ts";
import type { RelayEvent } from "../../src/relay/event.ts";
import { dropAndRelink, exchange, withoutCheckpoints } from "../contract/hostile-lane.ts";
import { natsDestination } from "../../src/relay/nats.ts";
import { eventsOf } from "../contract/golden-events.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { natsMissing, startNats, type Nats } from "../contract/nats-server.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { compare, digestOf, fill, query } from "../contract/projection.ts";
import { until } from "../contract/relay-world.ts";
import { sigilHere, type Ended } from "./command.ts";

describe("a projection of a relay's stream in NATS", function () {
  this.slow(20_000);
  let postgres: Postgres;
  let nats: Nats;
  let ledger: GoldenLedger;

  const publish = (stream: string, from: number, to: number): Promise<void> =>
    publishEvents(stream, eventsOf(ledger, [from, to]));

  const publishEvents = async (stream: string, events: readonly RelayEvent[]): Promise<void> => {
    await using destination = await natsDestination({
      servers: [nats.url],
      stream,
      subjectPrefix: stream.toLowerCase(),
      replicas: 1,
      credentials: { kind: "none" },
      tls: null,
    }).open(new AbortController().signal, async () => undefined);
    await destination.lastPublished();
    for (let at = 0; at < events.length; at += 50) {
      await destination.publish(events.slice(at, at + 50), new AbortController().signal);
    }
  };

  const project = (database: string, stream: string, ...more: readonly string[]): Promise<Ended> => {
    const words = ["--from", `${nats.url}/${stream}`, "--genesis", toHex(ledger.genesis)];
    return sigilHere(["project", "postgres", ...words, "--to", postgres.address(database), ...more], {
      cwd: process.cwd(),
    });
  };

  before(async function () {
    skipWithoutPostgres(this);
    if (natsMissing !== undefined) {
      console.log(`      ${natsMissing}`);
      this.skip();
    }
    postgres = await startPostgres();
    nats = await startNats();
    ledger = await generateLedger({ seed: 31, count: 700 });
    for (const name of ["streamed", "direct", "lost"])
      await query(postgres.address(), `CREATE DATABASE ${name}`);
  });

  after(async () => {
    await nats?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  it("is the ledger, resumed on the way and replayed from 0", async () => {
    await publish("WHOLE", 0, 300);
    // It is stored and not yet shown: of its erased records some are accounted for later.
    const first = await project("streamed", "WHOLE", "--once");
    expect(first.problems).to.contain("ends before their erasure is reported");
    expect(first.exitCode).to.equal(1);
    expect(
      await query(postgres.address("streamed"), "SELECT next, is_ready FROM sigil_v1.cursor"),
    ).to.deep.equal([{ next: 300n, is_ready: false }]);
    await publish("WHOLE", 300, ledger.places.length);
    await nats.kill();
    await nats.start();
    const second = await project("streamed", "WHOLE", "--once", "--json");
    expect(second.exitCode, second.problems).to.equal(0);
    expect(JSON.parse(second.output)).to.include({ next: String(ledger.places.length), caught_up: true });
    await fill({ address: postgres.address("direct"), ledger });
    const expected = await digestOf(postgres.address("direct"));
    expect(await digestOf(postgres.address("streamed"))).to.deep.equal(expected);
    expect((await compare(postgres.address("streamed"), ledger)).difference).to.equal(undefined);
    const checked = await project("streamed", "WHOLE", "--check");
    expect(checked.output).to.match(/^EQUAL/);
    await query(postgres.address("streamed"), "DROP SCHEMA sigil, sigil_v1 CASCADE");
    const replayed = await project("streamed", "WHOLE", "--once");
    expect(replayed.exitCode, replayed.problems).to.equal(0);
    expect(await digestOf(postgres.address("streamed"))).to.deep.equal(expected);
  });

  it("goes on where it was once the server that died is back, without a message lost or repeated", async () => {
    await publish("AWAY", 0, 40);
    const address = { server: nats.url, stream: "AWAY", credentialsPath: undefined };
    await using opened = await openNatsStream(address);
    const stopping = new AbortController();
    const positions: number[] = [];
    const reading = (async (): Promise<void> => {
      for await (const { messages } of opened.source.after(new Map(), stopping)) {
        positions.push(...messages.map(({ position }) => Number(position)));
      }
    })();
    await until(() => positions.length >= 40, "what was there");
    await nats.kill();
    await nats.start();
    await publish("AWAY", 40, 60);
    await until(() => positions.length >= 60, "what came afterwards", 60_000);
    stopping.abort();
    await reading;
    expect(positions).to.deep.equal(Array.from({ length: 60 }, (_, position) => position));
  });

  it("stops where the stream lost a message, with both positions", async () => {
    await publish("LOST", 0, 40);
    await publish("LOST", 41, 60);
    const lost = await project("lost", "LOST", "--once");
    expect(lost.exitCode).to.equal(1);
    expect(lost.problems).to.contain("position 41 follows position 40, and position 39 was taken last");
  });

  it("stops by the root of a checkpoint where the broker dropped a record and linked the rest anew", async () => {
    // Before the first rotation of a key, whose position would tell too.
    const events = [...eventsOf(ledger, [0, 100]), ...eventsOf(ledger, [100, 130])];
    const attacks = { RELINKED: dropAndRelink(events, 60n), EXCHANGED: exchange(events, [20, 21]) };
    for (const [stream, attacked] of Object.entries(attacks)) {
      await query(postgres.address(), `CREATE DATABASE ${stream.toLowerCase()}`);
      await publishEvents(stream, attacked);
      const stopped = await project(stream.toLowerCase(), stream, "--once");
      expect(stopped.problems).to.contain("at size 100 the root of what was read is");
      expect(stopped.exitCode).to.equal(1);
      const stripped = `${stream}_STRIPPED`;
      await query(postgres.address(), `CREATE DATABASE ${stripped.toLowerCase()}`);
      await publishEvents(stripped, withoutCheckpoints(attacked));
      const unchecked = await project(stripped.toLowerCase(), stripped, "--once");
      expect(unchecked.problems).to.contain("no checkpoint that holds them, the newest being of 0");
      expect(unchecked.exitCode).to.equal(1);
    }
  });

  it("ends when it is interrupted while its consumer begins", async () => {
    await publish("ENDED", 0, 20);
    await using opened = await openNatsStream({
      server: nats.url,
      stream: "ENDED",
      credentialsPath: undefined,
    });
    const stopping = new AbortController();
    const { signal } = stopping;
    const listen = signal.addEventListener.bind(signal);
    Object.assign(signal, {
      addEventListener: (type: "abort", listener: () => void) => {
        stopping.abort();
        listen(type, listener);
      },
    });
    for await (const { messages } of opened.source.after(new Map(), { signal })) {
      expect(messages).to.have.length(1);
    }
    expect(signal.aborted).to.equal(true);
  });

  it("takes a message that it may not read for no empty stream", async () => {
    await using guarded = await startNats({
      settings: `no_auth_user: reader
authorization { users: [{ user: reader, password: reader, permissions: { publish: { deny: "$JS.API.STREAM.MSG.GET.>" } } }] }`,
    });
    const connection = await connect({ servers: [guarded.url] });
    await (await jetstreamManager(connection)).streams.add({ name: "GUARDED", subjects: ["guarded.>"] });
    await jetstream(connection).publish("guarded.one", "1");
    await connection.close();
    const words = ["--from", `${guarded.url}/GUARDED`, "--genesis", toHex(ledger.genesis), "--once"];
    const refused = await sigilHere(["project", "postgres", ...words, "--to", postgres.address("lost")], {
      cwd: process.cwd(),
    });
    expect(refused.problems).to.match(/--from: nats:.*\/GUARDED cannot be read: /);
    expect(refused.exitCode).to.equal(2);
  });

  it("says what it cannot read, and ends with 2", async () => {
    const missing = await project("lost", "NONE", "--once");
    expect(missing.problems).to.match(/--from: nats:.*\/NONE cannot be read: stream not found/);
    expect(missing.exitCode).to.equal(2);
  });
});
