/** Kafka as a destination: the suite of all, its topics, partitions and settings. Bad days: kafka-days.test.ts. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { murmur2, Producer } from "@platformatic/kafka";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { clientOptions } from "../../../src/relay/kafka/client.ts";
import { generationsOf, partitionOf, topicOfGeneration } from "../../../src/relay/kafka/topic.ts";
import { createAuthority, type Authority } from "../../contract/certificates.ts";
import { plainConnection, produceForeign, topicsOf, withAdmin } from "../../contract/kafka-messages.ts";
import { openKafkaPlace, startAt } from "../../contract/kafka-place.ts";
import { kafkaMissing, startKafka, type Kafka } from "../../contract/kafka-server.ts";
import { testDestination } from "../../contract/relay-destination.ts";
import { createRelayLedger, expectWhole, until, untilCaughtUp } from "../../contract/relay-world.ts";

describe("topics of a relay", () => {
  it("are one a generation, and no other topic is taken for one", () => {
    expect([1, 2, 12].map((one) => topicOfGeneration("sigil", one))).to.deep.equal([
      "sigil",
      "sigil-g2",
      "sigil-g12",
    ]);
    const names = [
      "sigil-g12",
      "sigil",
      "sigil-g1",
      "sigil-g02",
      "sigil-gx",
      "sigil-g2-g3",
      "xsigil-g4",
      "sigil-g2",
    ];
    expect(generationsOf("sigil", names)).to.deep.equal([12, 2, 1]);
    expect(generationsOf("a.b", ["aXb", "aXb-g2"])).to.deep.equal([]);
  });

  it("have a key's partition as Kafka's own clients choose it", () => {
    for (let length = 0; length < 40; length += 1) {
      const key = `acme/user/${"ü".repeat(length % 3)}${"k".repeat(length)}`;
      expect(partitionOf(key, 7), key).to.equal((murmur2(Buffer.from(key)) & 0x7fff_ffff) % 7);
    }
    expect(partitionOf(undefined, 7)).to.equal(0);
  });
});

describe(`Kafka${kafkaMissing === undefined ? "" : ` (${kafkaMissing})`}`, () => {
  let kafka: Kafka;
  let authority: Authority;
  before(async function () {
    if (kafkaMissing !== undefined) return this.skip();
    authority = await createAuthority();
    kafka = await startKafka({ certificate: await authority.issue("kafka", "DNS:localhost") });
  });
  after(async () => {
    await kafka?.[Symbol.asyncDispose]();
    authority?.[Symbol.dispose]();
  });

  testDestination("Kafka topics", () => openKafkaPlace(kafka.server));

  it("keeps records of one id in one partition, under their key, and uses every partition", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    for (const id of ["a", "b", "c", "d", "é/~"]) source.add(4, { id });
    source.add(4, { id: "a" });
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    const messages = await place.messages();
    expectWhole(messages, source.items);
    for (const { key, subject, lane } of messages) {
      expect(subject).to.equal(key);
      expect(Number(lane)).to.equal(partitionOf(key, 3));
    }
    expect(new Set(messages.map(({ lane }) => lane)).size).to.equal(3);
  });

  it("fills the partitions that a batch did not reach, and repeats nothing in the others", async () => {
    await using whole = await openKafkaPlace(kafka.server);
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(7);
    await using before = await startAt(whole, source);
    await untilCaughtUp(before, { source });
    const [lane] = (await whole.messages()).map((message) => message.lane);
    await withAdmin(kafka.server, (admin) =>
      admin.createTopics({
        topics: [{ topic: place.topic, partitions: 3, replicas: 1 }],
        configs: [{ name: "retention.ms", value: "-1" }],
      }),
    );
    const producer = new Producer({ ...(await clientOptions(plainConnection(kafka.server))) });
    await producer.send({
      messages: (await whole.messages())
        .filter((message) => message.lane === lane)
        .map(({ data, lane: partition, ...attributes }) => ({
          topic: place.topic,
          partition: Number(partition),
          value: data as Buffer,
          headers: new Map(
            [
              ...Object.entries(attributes).map(([name, value]) => [`ce_${name}`, String(value)] as const),
              ["sigil-settled", "0"] as const,
            ].map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const),
          ),
        })),
    });
    await producer.close();
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items);
  });

  it("begins a topic with each generation, and leaves the older ones", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(5);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await seen.relay.reset(2n);
    await untilCaughtUp(seen, { source });
    expect(await topicsOf(kafka.server, place.topic)).to.deep.equal([place.topic, `${place.topic}-g2`]);
    expectWhole(await place.messages(), source.items, 1);
    expectWhole(await place.messages(), source.items.slice(2), 2);
  });

  it("creates a topic that keeps every message", async () => {
    await using place = await openKafkaPlace(kafka.server, { messageBytesMax: 70_000 });
    const source = createRelayLedger();
    source.add(1);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    const described = await withAdmin(kafka.server, (admin) =>
      admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: place.topic }] }),
    );
    const settings = new Map(described[0]?.configs.map(({ name, value }) => [name, value]));
    for (const [name, value] of [
      ["cleanup.policy", "delete"],
      ["retention.ms", "-1"],
      ["retention.bytes", "-1"],
      ["max.message.bytes", "70000"],
      ["min.insync.replicas", "1"],
    ] as const) {
      expect(settings.get(name), name).to.equal(value);
    }
  });

  it("goes on in a topic that another relay created meanwhile, if it is laid out alike", async () => {
    for (const isAlike of [true, false]) {
      const createTopic = (topic: string): Promise<unknown> =>
        withAdmin(kafka.server, (admin) =>
          admin.createTopics({
            topics: [{ topic, partitions: 3, replicas: 1 }],
            configs: isAlike ? [{ name: "retention.ms", value: "-1" }] : [],
          }),
        );
      const place = await openKafkaPlace(kafka.server, {
        onStep: async (step) => void (step === "creating topic" && (await createTopic(place.topic))),
      });
      const source = createRelayLedger();
      source.add(3);
      await using seen = await startAt(place, source);
      if (isAlike) {
        await untilCaughtUp(seen, { source });
        expectWhole(await place.messages(), source.items);
        expect(seen.errors).to.deep.equal([]);
      } else {
        await until(() => seen.errors.length > 0, "an error");
        expect(seen.errors[0]?.kind).to.equal("refused");
      }
      await place[Symbol.asyncDispose]();
    }
  });

  for (const [what, partitions, configs, rule] of [
    ["is compacted", 3, { "cleanup.policy": "compact", "retention.ms": "-1" }, "cleanup.policy=compact"],
    ["forgets after a week", 3, {}, "retention.ms=604800000"],
    [
      "has a limit of bytes",
      3,
      { "retention.ms": "-1", "retention.bytes": "100000" },
      "retention.bytes=100000",
    ],
    ["has other partitions", 4, { "retention.ms": "-1" }, "has 4 partitions"],
  ] as const) {
    it(`refuses a topic that ${what}, and says what to do`, async () => {
      await using place = await openKafkaPlace(kafka.server);
      await withAdmin(kafka.server, (admin) =>
        admin.createTopics({
          topics: [{ topic: place.topic, partitions, replicas: 1 }],
          configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
        }),
      );
      const source = createRelayLedger();
      source.add(1);
      await using seen = await startAt(place, source);
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]?.kind).to.equal("refused");
      expect(seen.errors[0]?.rule)
        .to.contain(`the topic ${place.topic} has`)
        .and.to.contain(rule)
        .and.to.contain("set ");
      await seen.relay.reset(0n);
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items, 2);
    });
  }

  it("refuses partitions that were added in the middle of a generation", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(5);
    await using before = await startAt(place, source);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    await withAdmin(kafka.server, (admin) =>
      admin.createPartitions({ topics: [{ name: place.topic, count: 5, assignments: null }] }),
    );
    source.add(1);
    await using seen = await startAt(place, source);
    await until(() => seen.errors.length > 0, "an error");
    expect(seen.errors[0]?.rule).to.contain("has 5 partitions").and.to.contain("sigil relay reset");
    expect(await place.messages()).to.have.length(5);
  });

  it("publishes nothing where something else published last", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(2);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await produceForeign(kafka.server, place.topic, 1);
    // What is sent meanwhile finds another offset than was expected.
    source.add(20);
    await until(() => seen.relay.status.error !== undefined, "noticed");
    await seen.relay.close();
    await produceForeign(kafka.server, place.topic, 1);
    source.add(1);
    await using next = await startAt(place, source);
    await until(() => next.relay.status.error?.kind === "refused", "refused");
    expect(next.relay.status.error?.rule).to.contain("partition 1").and.to.contain("no relay's");
  });

  it("goes on by its own cursor where all messages were removed", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(5, { id: "a" });
    await using first = await startAt(place, source);
    await untilCaughtUp(first, { source });
    await first.relay.close();
    const partition = partitionOf("acme/user/a", 3);
    await withAdmin(kafka.server, (admin) =>
      admin.deleteRecords({ topics: [{ name: place.topic, partitions: [{ partition, offset: 5n }] }] }),
    );
    source.add(2, { id: "a" });
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    const links = (await place.messages()).map(({ sigilposition, sigilprev }) => [sigilprev, sigilposition]);
    expect(links).to.deep.equal([
      ["4", "5"],
      ["5", "6"],
    ]);
  });

  it("gets by reference what is larger than its messages, and batches that it takes", async () => {
    await using place = await openKafkaPlace(kafka.server);
    await withAdmin(kafka.server, (admin) =>
      admin.createTopics({
        topics: [{ topic: place.topic, partitions: 3, replicas: 1 }],
        configs: [
          { name: "retention.ms", value: "-1" },
          { name: "max.message.bytes", value: "6000" },
        ],
      }),
    );
    const source = createRelayLedger();
    source.add(1, {}, 5000);
    source.add(30, { id: "one" }, 2000);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    const messages = await place.messages();
    expectWhole(messages, source.items);
    const large = messages.find(({ sigilposition }) => sigilposition === "0");
    expect(large).not.to.have.any.keys("data", "datacontenttype");
    expect(large?.["dataref"]).to.equal(`sigil://ledger.test/main/records/${String(large?.["id"])}`);
    const small = messages.filter(({ sigilposition }) => sigilposition !== "0");
    for (const message of small) expect(message).to.include.keys("data", "datacontenttype");
  });

  it("stops at a record that fits no message, and goes on after it as a new generation", async () => {
    await using place = await openKafkaPlace(kafka.server, { messageBytesMax: 2700 });
    const source = createRelayLedger();
    source.add(1);
    source.add(1, { kind: "k".repeat(255), id: "i".repeat(255) });
    source.add(1);
    await using seen = await startAt(place, source);
    await until(() => seen.relay.status.state === "stopped", "stopped");
    expect(seen.relay.status.error).to.include({ kind: "poison", position: 1n });
    expect(await place.messages()).to.have.length(1);
    await seen.relay.reset(2n);
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items.slice(2), 2);
  });

  it("is reached by TLS and SCRAM: under the configured authority, with the password of the file", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const passwordPath = join(root, "password");
    using foreign = await createAuthority();
    const source = createRelayLedger();
    source.add(3);
    const secure = (ca: string, mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512") => ({
      servers: [kafka.secureServer],
      tls: { ca, cert: "", key: "" },
      login: { kind: "scram", mechanism, user: "relay", passwordPath } as const,
    });
    await writeFile(passwordPath, "right\n");
    await using unknown = await openKafkaPlace(kafka.server, {
      connection: secure(foreign.ca, "SCRAM-SHA-256"),
    });
    await using refused = await startAt(unknown, source);
    await until(() => refused.errors.length > 0, "an error");
    expect(refused.errors[0]?.kind).to.equal("refused");
    for (const mechanism of ["SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
      await writeFile(passwordPath, "wrong\n");
      await using place = await openKafkaPlace(kafka.server, { connection: secure(authority.ca, mechanism) });
      await using seen = await startAt(place, source);
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]).to.include({ kind: "refused" });
      expect(JSON.stringify(seen.errors)).not.to.contain("wrong");
      await writeFile(passwordPath, "right\n");
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items);
    }
    await rm(root, { recursive: true });
  });
});
