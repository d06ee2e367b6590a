/**
 * The replay test over Kafka: a golden ledger through a relay's topics into PostgreSQL, and again from offset 0; two
 * projections beside each other, a new generation, a restart of the broker, and what stops it.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Consumer, MessagesStreamModes, Producer } from "@platformatic/kafka";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { openKafkaTopic } from "../../src/cli/project/kafka-source.ts";
import { readRelays } from "../../src/config/relays.ts";
import { toHex } from "../../src/core/bytes.ts";
import type { RelayEvent } from "../../src/relay/event.ts";
import { clientOptions } from "../../src/relay/kafka/client.ts";
import { kafkaDestination } from "../../src/relay/kafka/kafka.ts";
import { createAuthority, type Authority } from "../contract/certificates.ts";
import { eventsOf } from "../contract/golden-events.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { dropAndRelink } from "../contract/hostile-lane.ts";
import { inGeneration, inPartitions } from "../contract/kafka-events.ts";
import { plainConnection, readTopicMessages } from "../contract/kafka-messages.ts";
import { kafkaMissing, startKafka, type Kafka } from "../contract/kafka-server.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { bound, compare, digestOf, fill, query } from "../contract/projection.ts";
import { until } from "../contract/relay-world.ts";
import { sigilHere, type Ended } from "./command.ts";
import { makeDeployment } from "./deployment.ts";

const partitions = 3;

describe("a projection of a relay's topics in Kafka", function () {
  this.slow(20_000);
  let postgres: Postgres;
  let kafka: Kafka;
  let authority: Authority;
  let ledger: GoldenLedger;

  const publish = async (topic: string, events: readonly RelayEvent[]): Promise<void> => {
    const connection = plainConnection(kafka.server);
    await using destination = await kafkaDestination({
      connection,
      topic,
      partitions,
      replicas: 1,
      messageBytesMax: 2 << 20,
    }).open(new AbortController().signal, async () => undefined);
    for (let at = 0; at < events.length; at += 50) {
      await destination.publish(events.slice(at, at + 50), new AbortController().signal);
    }
  };

  /** In batches of fifty, each with a checkpoint. */
  const whole = (): readonly RelayEvent[] =>
    inPartitions(
      Array.from({ length: Math.ceil(ledger.places.length / 50) }, (_, at) =>
        eventsOf(ledger, [at * 50, Math.min(ledger.places.length, (at + 1) * 50)]),
      ).flat(),
      partitions,
    );

  /** Consumers of somebody else in the group that our reader is named after: they share the partitions, and commit. */
  const startGroup = async (topic: string) => {
    const options = { ...(await clientOptions(plainConnection(kafka.server))), groupId: "sigil" };
    const others: Consumer[] = [];
    const mode = MessagesStreamModes.EARLIEST;
    const start = async (): Promise<Consumer> => {
      const consumer = new Consumer({ ...options, heartbeatInterval: 100, sessionTimeout: 6000 });
      const stream = await consumer.consume({ topics: [topic], mode, autocommit: true });
      stream.on("data", () => {});
      return consumer;
    };
    const first = await start();
    let rebalances = 0;
    first.on("consumer:group:join", () => (rebalances += 1));
    /** Until the others have fewer partitions. */
    const shared = (among: number) =>
      until(() => (first.assignments?.[0]?.partitions.length ?? 0) === partitions / among, "shared");
    await shared(1);
    return {
      rebalances: () => rebalances,
      join: async () => {
        while (others.length < partitions - 1) others.push(await start());
        await shared(partitions);
      },
      leave: async () => {
        await Promise.all(others.splice(0).map((other) => other.close(true)));
        await shared(1);
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([...others, first].map((consumer) => consumer.close(true)));
      },
    };
  };

  const project = (database: string, from: string, ...more: readonly string[]): Promise<Ended> => {
    const words = ["--from", from, "--genesis", toHex(ledger.genesis)];
    return sigilHere(["project", "postgres", ...words, "--to", postgres.address(database), ...more], {
      cwd: process.cwd(),
    });
  };
  const at = (topic: string): string => `kafka://${kafka.server}/${topic}`;

  before(async function () {
    skipWithoutPostgres(this);
    if (kafkaMissing !== undefined) {
      console.log(`      ${kafkaMissing}`);
      this.skip();
    }
    postgres = await startPostgres();
    authority = await createAuthority();
    kafka = await startKafka({ certificate: await authority.issue("kafka", "DNS:localhost") });
    ledger = await generateLedger({ seed: 31, count: 700 });
    for (const name of [
      "direct",
      "replayed",
      "beside",
      "again",
      "secure",
      "served",
      "short",
      "lost",
      "unlinked",
      "relinked",
      "regrouped",
    ])
      await query(postgres.address(), `CREATE DATABASE ${name}`);
    await publish("whole", whole());
    await fill({ address: postgres.address("direct"), ledger });
  });

  after(async () => {
    await kafka?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
    authority?.[Symbol.dispose]();
  });

  const expectEqual = async (database: string): Promise<void> => {
    const expected = await digestOf(postgres.address("direct"));
    expect(await digestOf(postgres.address(database))).to.deep.equal(expected);
  };

  it("is the ledger, resumed on the way and replayed from 0", async () => {
    const events = whole();
    await publish("parts", events.slice(0, 300));
    // It is stored and not yet shown: of its erased records some are accounted for later.
    const first = await project("replayed", at("parts"), "--once");
    expect(first.problems).to.contain("ends before their erasure is reported");
    await publish("parts", events.slice(300));
    const second = await project("replayed", at("parts"), "--once", "--json");
    expect(second.exitCode, second.problems).to.equal(0);
    expect(JSON.parse(second.output)).to.include({ next: String(ledger.places.length), caught_up: true });
    await expectEqual("replayed");
    expect((await compare(postgres.address("replayed"), ledger)).difference).to.equal(undefined);
    const checked = await project("replayed", at("parts"), "--check");
    expect(checked.output).to.match(/^EQUAL/);
    await query(postgres.address("replayed"), "DROP SCHEMA sigil, sigil_v1 CASCADE");
    const replayed = await project("replayed", at("parts"), "--once");
    expect(replayed.exitCode, replayed.problems).to.equal(0);
    await expectEqual("replayed");
  });

  it("leaves another one of the same topic alone: each reads every partition", async () => {
    const ended = await Promise.all(
      ["beside", "again"].map((database) => project(database, at("whole"), "--once")),
    );
    for (const { exitCode, problems } of ended) expect(exitCode, problems).to.equal(0);
    for (const database of ["beside", "again"]) await expectEqual(database);
  });

  it("is read over TLS with a password, and refuses a wrong one", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-kafka-"));
    const password = join(root, "password");
    const flags = ["--kafka-user", "relay", "--kafka-password", password, "--kafka-ca", authority.ca];
    const from = `kafkas://${kafka.secureServer}/whole`;
    await writeFile(password, "wrong\n");
    const refused = await project("secure", from, "--once", ...flags);
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.contain("SASL authentication failed").and.not.to.contain("wrong");
    await writeFile(password, "right\n");
    const read = await project("secure", from, "--once", ...flags);
    expect(read.exitCode, read.problems).to.equal(0);
    await rm(root, { recursive: true });
    const missing = await project("secure", at("nowhere"), "--once");
    expect(missing.exitCode).to.equal(2);
    expect(missing.problems).to.contain("there is no topic nowhere");
  });

  it("loses and repeats nothing where a group of its name is rebalanced by others in the middle of each batch", async () => {
    const events = whole();
    await publish("regrouped", events.slice(0, 300));
    await using group = await startGroup("regrouped");
    const address = { connection: plainConnection(kafka.server), topic: "regrouped" };
    const { source, lanes } = await openKafkaTopic(address);
    const stored: number[] = [];
    await fill({
      address: postgres.address("regrouped"),
      ledger,
      source,
      lanes,
      // Between what was read and its rows.
      wrap: (store) => ({
        ...bound(store),
        apply: async (gathered) => {
          await group.join();
          if (stored.length === 0) await publish("regrouped", events.slice(300));
          stored.push(...gathered.places.map(({ position }) => Number(position)));
          const erased = await store.apply(gathered);
          await group.leave();
          return erased;
        },
      }),
    });
    expect(group.rebalances()).to.be.at.least(2);
    expect(stored).to.deep.equal([...ledger.places.keys()]);
    await expectEqual("regrouped");
    expect((await compare(postgres.address("regrouped"), ledger)).difference).to.equal(undefined);
  });

  it("goes on in the topic of a newer generation, whose lanes begin anew", async () => {
    const again = await project("again", at("whole"), "--once");
    expect(again.exitCode, again.problems).to.equal(0);
    await publish("whole", inGeneration(whole(), 2));
    const next = await project("again", at("whole"), "--once");
    expect(next.exitCode, next.problems).to.equal(0);
    await expectEqual("again");
    const { rows } = { rows: await query(postgres.address("again"), "SELECT next FROM sigil_v1.cursor") };
    expect(rows).to.deep.equal([{ next: BigInt(ledger.places.length) }]);
  });

  it("is of what a server relays there by its configuration", async () => {
    await using deployment = await makeDeployment();
    const table = { name: "log", to: "kafka", servers: [`kafka://${kafka.server}`], topic: "served" };
    await using served = await deployment.serve({ config: { relays: readRelays(JSON.stringify([table])) } });
    for (let calls = 0; calls < 20; calls += 1) {
      await served.as("guest").trust.check({ action: "read", target: "public/docs" });
    }
    const { reader } = served.server.ledger;
    await until(
      async () => BigInt((await readTopicMessages(kafka.server, "served")).length) === reader.size,
      "everything published",
    );
    const genesis = toHex((await reader.readAt(0n)).hash);
    const words = [
      "--from",
      at("served"),
      "--genesis",
      genesis,
      "--to",
      postgres.address("served"),
      "--once",
    ];
    const projected = await sigilHere(["project", "postgres", ...words, "--json"], { cwd: process.cwd() });
    expect(projected.exitCode, projected.problems).to.equal(0);
    expect(JSON.parse(projected.output)).to.include({ next: String(reader.size) });
  });

  it("stops where a partition lost a message, with both positions", async () => {
    const events = whole();
    const lost = events.find(({ position, lane }) => position > 40n && lane === events[0]?.lane);
    await publish("lost", events.filter((event) => event !== lost).slice(0, 150));
    const stopped = await project("lost", at("lost"), "--once");
    expect(stopped.exitCode).to.equal(1);
    expect(stopped.problems).to.contain(`follows position ${lost?.position}, and position`);
  });

  it("stops where a record was dropped and the rest linked anew: by its place, or by the root of a checkpoint", async () => {
    // Before the first rotation of a key, whose position would tell too.
    const events = whole().slice(0, 130);
    await publish(
      "unlinked",
      inPartitions(
        events.filter(({ position }) => position !== 60n),
        partitions,
      ),
    );
    const unlinked = await project("unlinked", at("unlinked"), "--once");
    expect(unlinked.exitCode).to.equal(1);
    expect(unlinked.problems).to.contain("position 60 is missing");
    await publish("relinked", inPartitions(dropAndRelink(events, 60n), partitions));
    const relinked = await project("relinked", at("relinked"), "--once");
    expect(relinked.exitCode).to.equal(1);
    expect(relinked.problems).to.contain("at size 100 the root of what was read is");
  });

  it("ends with --once and --check where the newest batch lost a message that had none after it in its partition", async () => {
    const events = whole().slice(0, 150);
    const lasts = new Map(events.map(({ lane, position }) => [lane, position]));
    const [lost] = [...lasts.values()].toSorted((one, other) => Number(one - other));
    await publish(
      "short",
      events.filter(({ position }) => position !== lost),
    );
    const stopped = await project("short", at("short"), "--once");
    expect(stopped.exitCode).to.equal(1);
    expect(stopped.problems).to.contain(`position ${lost} is missing`);
    const checked = await project("beside", at("short"), "--check");
    expect(checked.output).to.contain("the source ends here");
  });

  it("brings messages in the order of the ledger, none of a transaction that was given up, over a restart", async () => {
    await publish("source", whole());
    const options = await clientOptions(plainConnection(kafka.server));
    const producer = new Producer({ ...options, idempotent: true, transactionalId: "theirs" });
    const transaction = await producer.beginTransaction();
    await transaction.send({ messages: [{ topic: "source", partition: 1, value: Buffer.from("theirs") }] });
    await transaction.abort();
    await producer.close();
    const address = { connection: plainConnection(kafka.server), topic: "source" };
    const { source } = await openKafkaTopic(address);
    const stopping = new AbortController();
    const positions: bigint[] = [];
    const size = ledger.places.length;
    const reading = (async (): Promise<void> => {
      for await (const { messages } of source.after(new Map(), stopping)) {
        positions.push(...messages.map(({ position }) => position));
      }
    })();
    await until(() => positions.length >= size, "everything");
    expect(positions).to.deep.equal(Array.from({ length: size }, (_, position) => BigInt(position)));
    await kafka.kill();
    await kafka.start();
    await publish("source", inGeneration(whole().slice(0, 20), 2));
    await until(() => positions.length >= size + 20, "the newer generation");
    stopping.abort();
    await reading;
  });
});
