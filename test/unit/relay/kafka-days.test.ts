/**
 * What erasing a tenant does in Kafka, and the bad days of a broker: it is killed here, its topics are changed under
 * the relay, and it lets nobody do what was not allowed.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AclOperations, AclPermissionTypes, ResourcePatternTypes, ResourceTypes } from "@platformatic/kafka";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { createAuthority, type Authority } from "../../contract/certificates.ts";
import { deleteTopics, topicsOf, withAdmin } from "../../contract/kafka-messages.ts";
import { openKafkaPlace, startAt } from "../../contract/kafka-place.ts";
import { kafkaMissing, startKafka, type Kafka } from "../../contract/kafka-server.ts";
import {
  createRelayLedger,
  expectWhole,
  killAfter,
  startRelay,
  until,
  untilCaughtUp,
  type RelayLedger,
} from "../../contract/relay-world.ts";
import { canaries, canary, filesHolding } from "../../e2e/erased-world.ts";

/** Records of "acme", each with the canary in it, among those of a tenant whose name begins alike. */
const createMixedLedger = (): RelayLedger => {
  const source = createRelayLedger();
  for (let turn = 0; turn < 4; turn += 1) {
    source.add(1, { tenant: "acme-2" });
    source.add(2, { tenant: "acme", id: `${canary}/${turn}` }, 300);
  }
  source.add(1, { tenant: "acme-2" });
  return source;
};

const found = 8;

/** As the ledger does. */
const eraseAcme = (source: RelayLedger): void => {
  for (const { position, record } of source.items)
    if (record?.body.tenant === "acme") source.erase(Number(position));
};

/** More steps than an erasure takes. */
const stepsMax = 60;

describe(`Kafka on bad days${kafkaMissing === undefined ? "" : ` (${kafkaMissing})`}`, () => {
  let kafka: Kafka;
  before(async function () {
    if (kafkaMissing !== undefined) return this.skip();
    kafka = await startKafka();
  });
  after(() => kafka?.[Symbol.asyncDispose]());

  const canaryAsked = (): readonly string[] => ["unknown"];
  const holding = (): Promise<readonly string[]> => filesHolding(kafka.store, canaries);

  it("begins a topic without the data of a tenant that is erased, and deletes the older ones when they are to go", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createMixedLedger();
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await until(async () => (await holding()).length > 0, "stored");
    const before = await place.messages();
    eraseAcme(source);
    const counted = await seen.relay.erase({ tenant: "acme", action: "count" });
    expect(counted).to.include({ outcome: "left", found, left: found, generation: 1 });
    const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(report).to.include({ outcome: "left", found, left: found, generation: 2 });
    expect(report.cannot[0]).to.contain("generations before 2").and.contain("--purge-old");
    await untilCaughtUp(seen, { source });
    const messages = await place.messages();
    expect(messages.slice(0, before.length)).to.deep.equal(before);
    expectWhole(messages, source.items, 2);
    const purged = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(purged).to.include({ outcome: "erased", found, left: 0, generation: 2, error: null });
    expect(await topicsOf(kafka.server, place.topic)).to.deep.equal([`${place.topic}-g2`]);
    // Directories go while they are searched.
    await until(async () => (await holding().catch(canaryAsked)).length === 0, "nothing of it on disk");
    source.add(2);
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items, 2);
  });

  it("goes on after a kill between any two steps of an erasure, and leaves one whole generation", async () => {
    for (let steps = 1, kills = 0; steps <= stepsMax; steps += 1) {
      await using place = await openKafkaPlace(kafka.server);
      const source = createMixedLedger();
      await using before = await startAt(place, source);
      await untilCaughtUp(before, { source });
      await before.relay.close();
      eraseAcme(source);
      const { onStep, died, bury } = killAfter(steps);
      const { cursorPath } = place;
      const killed = await startRelay({ source, destination: place.destination(onStep), cursorPath });
      const end = await Promise.race([died, killed.relay.erase({ tenant: "acme", action: "purge old" })]);
      bury();
      await killed.relay.close();
      if (typeof end !== "string") {
        expect(kills).to.be.above(10);
        return;
      }
      kills += 1;
      await using seen = await startAt(place, source);
      const report = await seen.relay.erase({ tenant: "acme", action: "purge old" });
      expect(report, `killed ${end}: ${report.error}`).to.include({ left: 0, error: null });
      const messages = await place.messages();
      expect(messages, `killed ${end}`).to.have.length(source.items.length);
      expectWhole(messages, source.items, report.generation);
    }
    expect.fail("more steps than were tried");
  });

  it("gets everything after it was down for a while", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(9);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await kafka.kill();
    source.add(20);
    await until(() => seen.relay.status.state === "waiting", "waiting");
    expect(seen.relay.status.error?.kind).to.equal("retryable");
    expect(seen.relay.status.lag >= 19n).to.equal(true);
    await kafka.start();
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items);
    expect(seen.lost).to.deep.equal([]);
  });

  it("gets everything after it answered nothing for a while", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(9);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    kafka.suspend();
    source.add(20);
    await until(() => seen.relay.status.lag > 0n, "behind");
    kafka.wake();
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items);
  });

  it("gets everything again where somebody deletes the topic under it, and the relay says so", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(9);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await deleteTopics(kafka.server, place.topic);
    source.add(3);
    await untilCaughtUp(seen, { source });
    expect(seen.lost).to.deep.equal([[0n, 9n]]);
    expectWhole(await place.messages(), source.items);
  });

  const setTopic = (topic: string, name: string, value: string): Promise<unknown> =>
    withAdmin(kafka.server, (admin) =>
      admin.incrementalAlterConfigs({
        resources: [{ resourceType: 2, resourceName: topic, configs: [{ name, configOperation: 0, value }] }],
        validateOnly: false,
      }),
    );

  it("gets by reference what is larger than the topic takes by now", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(3);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await setTopic(place.topic, "max.message.bytes", "3000");
    source.add(2, { id: "large" }, 5000);
    await untilCaughtUp(seen, { source });
    expect(seen.errors[0]?.kind).to.equal("retryable");
    expect(seen.errors[0]?.rule).to.contain("MESSAGE_TOO_LARGE");
    const messages = await place.messages();
    expectWhole(messages, source.items);
    for (const message of messages.filter(({ sigilposition }) => Number(sigilposition) >= 3)) {
      expect(message).to.include.keys("dataref").and.not.have.any.keys("data");
    }
  });

  it("is not taken when it is compacted under it, as the relay finds when it opens it, and goes on once that is undone", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(3);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await setTopic(place.topic, "cleanup.policy", "compact");
    source.add(1);
    await untilCaughtUp(seen, { source });
    await seen.relay.close();
    source.add(3);
    await using next = await startAt(place, source);
    await until(() => next.relay.status.error?.kind === "refused", "refused");
    expect(next.relay.status.error?.rule).to.contain("cleanup.policy=compact");
    await setTopic(place.topic, "cleanup.policy", "delete");
    await untilCaughtUp(next, { source });
    expectWhole(await place.messages(), source.items);
  });

  it("gets everything again when it comes back without its data, and the relay says so", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(9);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await kafka.kill();
    await kafka.removeData();
    await kafka.start();
    source.add(1);
    await until(() => seen.lost.length > 0, "noticed");
    await untilCaughtUp(seen, { source });
    expect(seen.lost[0]?.[0]).to.equal(0n);
    expectWhole(await place.messages(), source.items);
  });
});

/** What docs/operating/relay.md says that a relay needs. */
const needed = ["DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE", "CREATE"] as const;

describe(`Kafka with permissions and quotas${kafkaMissing === undefined ? "" : ` (${kafkaMissing})`}`, function () {
  this.slow(15_000);
  let kafka: Kafka;
  let authority: Authority;
  let root = "";
  before(async function () {
    if (kafkaMissing !== undefined) return this.skip();
    root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    await writeFile(join(root, "password"), "right\n");
    authority = await createAuthority();
    const acls = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    kafka = await startKafka({
      certificate: await authority.issue("kafka", "DNS:localhost"),
      // A quota counts over two seconds, so that a burst is soon more than it allows.
      settings: [acls, "super.users=User:ANONYMOUS", "quota.window.num=2"],
    });
  });
  after(async () => {
    await kafka?.[Symbol.asyncDispose]();
    authority?.[Symbol.dispose]();
    if (root !== "") await rm(root, { recursive: true });
  });

  const allow = (topic: string, operations: readonly (typeof needed)[number][]): Promise<unknown> =>
    withAdmin(kafka.server, (admin) =>
      admin.createAcls({
        creations: operations.map((operation) => ({
          resourceType: ResourceTypes.TOPIC,
          resourceName: topic,
          resourcePatternType: ResourcePatternTypes.PREFIXED,
          principal: "User:relay",
          host: "*",
          operation: AclOperations[operation],
          permissionType: AclPermissionTypes.ALLOW,
        })),
      }),
    );
  const openPlace = () =>
    openKafkaPlace(kafka.server, {
      connection: {
        servers: [kafka.secureServer],
        tls: { ca: authority.ca, cert: "", key: "" },
        login: {
          kind: "scram",
          mechanism: "SCRAM-SHA-512",
          user: "relay",
          passwordPath: join(root, "password"),
        },
      },
    });

  it("takes a relay that may do what the page says, and no more", async () => {
    await using place = await openPlace();
    await allow(place.topic, needed);
    const source = createRelayLedger();
    source.add(5);
    await using first = await startAt(place, source);
    await untilCaughtUp(first, { source });
    await first.relay.close();
    source.add(2);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await seen.relay.reset(0n);
    await untilCaughtUp(seen, { source });
    expect([...first.errors, ...seen.errors]).to.deep.equal([]);
    expectWhole(await place.messages(), source.items, 2);
  });

  for (const missing of [["DESCRIBE_CONFIGS"], ["READ"], ["WRITE"], ["CREATE"], needed] as const) {
    it(`refuses one that lacks ${missing.length > 1 ? "all of it" : missing[0]}, and takes it once it has that`, async () => {
      await using place = await openPlace();
      const others = needed.filter((one) => !(missing as readonly string[]).includes(one));
      if (others.length > 0) await allow(place.topic, others);
      const source = createRelayLedger();
      source.add(5);
      // Only what is there already has to be read.
      if (missing[0] === "READ") {
        await using before = await startAt(place, source);
        await untilCaughtUp(before, { source });
        source.add(1);
      }
      await using seen = await startAt(place, source);
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]?.kind).to.equal("refused");
      expect(seen.errors[0]?.rule).to.contain("TOPIC_AUTHORIZATION_FAILED").and.to.contain(place.topic);
      await allow(place.topic, missing);
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items);
    });
  }

  it("is slow by its quota for the relay, which gives it everything once and with no error", async () => {
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(5);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await withAdmin(kafka.server, (admin) =>
      admin.alterClientQuotas({
        entries: [
          {
            entities: [{ entityType: "client-id", entityName: "sigil" }],
            ops: [{ key: "producer_byte_rate", value: 20_000, remove: false }],
          },
        ],
      }),
    );
    const startMs = performance.now();
    source.add(40, {}, 3000);
    await until(() => seen.relay.status.next >= source.size(), "caught up", 20_000);
    expect(performance.now() - startMs, "it was not slow").to.be.above(1000);
    expectWhole(await place.messages(), source.items);
    expect(seen.errors).to.deep.equal([]);
  });
});
