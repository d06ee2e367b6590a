/** What erasing a tenant does in Kafka, and the bad days of a broker, which is killed here. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { topicsOf } from "../../contract/kafka-messages.ts";
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
