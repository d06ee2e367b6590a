/**
 * A relay to a server of SQS whose disk is full, a real one (a small tmpfs): it answers nothing any more, and nothing
 * after there is room again until it is started anew. Nothing is lost or torn, and the relay says that it waits.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { createRelayLedger, expectWhole, startRelay, until, untilCaughtUp } from "../contract/relay-world.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";
import { openSqsPlace } from "../contract/sqs-place.ts";
import { sqsMissing, startSqs } from "../contract/sqs-server.ts";

const diskBytes = 24 << 20;

/** Of `until`, in tries: longer than `relayPublishMsMax`, some times over. */
const patience = 30_000;

describe(`a relay to SQS that has no room left${sqsMissing === undefined ? "" : ` (${sqsMissing})`}`, function () {
  this.timeout(180_000);
  this.slow(60_000);
  before(function () {
    if (sqsMissing !== undefined) this.skip();
  });

  it("on its disk (a small tmpfs) waits, and then lacks no record", async function () {
    await using disk = await mountDisk(diskBytes);
    skipWithoutDisk(disk, this);
    await using sqs = await startSqs({ store: `${disk.path}/store` });
    await using place = await openSqsPlace(sqs, undefined, { groups: "record" });
    const source = createRelayLedger();
    source.add(20, {}, 3000);
    const destination = place.destination();
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
    await untilCaughtUp(seen, { source });
    await disk.fill(64 << 10);
    source.add(200, {}, 3000);
    await until(() => seen.errors.length > 0, "an error", patience);
    expect(seen.errors[0]?.kind).to.equal("retryable");
    expect(seen.errors[0]?.rule).to.contain("timed out");
    expect(seen.relay.status.lag > 0n).to.equal(true);
    await disk.makeRoom();
    await sqs.kill();
    await sqs.start();
    await until(() => seen.relay.status.next >= source.size(), "caught up", patience);
    // Once started anew it may have what it never acknowledged, and gives what it kept in another order.
    const firsts = Map.groupBy(await place.messages(), ({ sigilposition }) => Number(sigilposition));
    const inOrder = [...firsts].sort(([one], [other]) => one - other);
    expectWhole(
      inOrder.flatMap(([, [first]]) => (first === undefined ? [] : [first])),
      source.items,
    );
    expect(seen.lost).to.deep.equal([]);
  });
});
