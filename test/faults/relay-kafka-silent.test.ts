/**
 * A relay to Kafka whose disk is full, a real one (a small tmpfs), or that answers nothing for longer than a request
 * may take. Nothing is lost, repeated or torn, and the relay says what it sees of it.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { openKafkaPlace, startAt } from "../contract/kafka-place.ts";
import { kafkaMissing, startKafka } from "../contract/kafka-server.ts";
import { createRelayLedger, expectWhole, until, untilCaughtUp } from "../contract/relay-world.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";

const diskBytes = 24 << 20;

/** Of `until`, in tries: longer than `relayPublishMsMax`, some times over. */
const patience = 30_000;

describe(`a relay to Kafka that takes nothing${kafkaMissing === undefined ? "" : ` (${kafkaMissing})`}`, function () {
  this.timeout(180_000);
  this.slow(60_000);
  before(function () {
    if (kafkaMissing !== undefined) this.skip();
  });

  it("for want of room on its disk (a small tmpfs) waits, and then has every record once", async function () {
    await using disk = await mountDisk(diskBytes);
    skipWithoutDisk(disk, this);
    await using kafka = await startKafka({
      store: `${disk.path}/logs`,
      settings: ["log.index.size.max.bytes=65536", "log.flush.interval.messages=1"],
    });
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(20, {}, 3000);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    await disk.fill(64 << 10);
    source.add(200, {}, 3000);
    await until(() => seen.errors.length > 0, "an error", patience);
    expect(seen.errors[0]?.kind).to.equal("retryable");
    // It ends with its only directory, before or after it has said so.
    expect(seen.errors[0]?.rule).to.match(/KAFKA_STORAGE_ERROR|PLT_KFK_NETWORK|ECONN/);
    expect(seen.relay.status.lag > 0n).to.equal(true);
    await until(() => !kafka.isRunning(), "ended", patience);
    await disk.makeRoom();
    await kafka.start();
    await until(() => seen.relay.status.next >= source.size(), "caught up", patience);
    expectWhole(await place.messages(), source.items);
    expect(seen.lost).to.deep.equal([]);
  });

  it("being suspended for longer than a request may take, waits, and then lacks no record", async () => {
    await using kafka = await startKafka();
    await using place = await openKafkaPlace(kafka.server);
    const source = createRelayLedger();
    source.add(9);
    await using seen = await startAt(place, source);
    await untilCaughtUp(seen, { source });
    kafka.suspend();
    source.add(20);
    await until(() => seen.errors.length > 0, "an error", patience);
    expect(seen.relay.status.state).to.equal("waiting");
    expect(seen.errors[0]?.kind).to.equal("retryable");
    expect(seen.errors[0]?.rule).to.contain("timed out");
    kafka.wake();
    await until(() => seen.relay.status.next >= source.size(), "caught up", patience);
    // It may store, once awake, what the relay had given up.
    const firsts = Map.groupBy(await place.messages(), ({ sigilposition }) => sigilposition);
    expectWhole(
      [...firsts.values()].flatMap(([first]) => first ?? []),
      source.items,
    );
    expect(seen.lost).to.deep.equal([]);
  });
});
