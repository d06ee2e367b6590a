/**
 * A relay to NATS whose disk is full, a real one (a small tmpfs), or whose JetStream has used up what its configuration
 * gives it. Nothing is lost, repeated or torn, and the relay says so in the broker's words.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { natsDestination } from "../../src/relay/nats.ts";
import { natsMissing, startNats, type Nats, type NatsSettings } from "../contract/nats-server.ts";
import { readStreamMessages, withStreams } from "../contract/relay-messages.ts";
import { createRelayLedger, expectWhole, startRelay, until, untilCaughtUp } from "../contract/relay-world.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";

/** NATS reserves blocks of some MiB for a stream. */
const diskBytes = 16 << 20;

/** Of `until`, in tries: a broker without room answers nothing for `relayPublishMsMax`. */
const patience = 30_000;

/** Makes it full, waits until the relay says so, and makes room again. */
type BadDay = {
  readonly fill: (url: string) => Promise<void>;
  readonly makeRoom: (nats: Nats) => Promise<void>;
  /** What the operator sees. */
  readonly rule: RegExp;
};

const expectNothingLost = async (settings: NatsSettings, day: BadDay): Promise<void> => {
  await using nats = await startNats(settings);
  const elsewhere = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  const source = createRelayLedger();
  source.add(20, {}, 3000);
  const destination = natsDestination({
    servers: [nats.url],
    stream: "S",
    subjectPrefix: "s",
    replicas: 1,
    credentials: { kind: "none" },
    tls: null,
  });
  {
    await using seen = await startRelay({ source, destination, cursorPath: join(elsewhere, "cursor.json") });
    await untilCaughtUp(seen, { source });
    await day.fill(nats.url);
    source.add(200, {}, 3000);
    await until(() => seen.errors.length > 0, "an error", patience);
    expect(seen.errors[0]?.kind).to.equal("retryable");
    expect(seen.errors[0]?.rule).to.match(day.rule);
    expect(seen.relay.status.lag > 0n).to.equal(true);
    await day.makeRoom(nats);
    await until(() => seen.relay.status.next >= source.size(), "caught up", patience);
    expect(seen.lost).to.deep.equal([]);
  }
  expectWhole(await readStreamMessages(nats.url, "S"), source.items);
  await rm(elsewhere, { recursive: true });
};

describe(`a relay to NATS that has no room left${natsMissing === undefined ? "" : ` (${natsMissing})`}`, function () {
  this.timeout(120_000);
  this.slow(30_000);
  before(function () {
    if (natsMissing !== undefined) this.skip();
  });

  it("on its disk (a small tmpfs) waits, and then has every record once", async function () {
    await using disk = await mountDisk(diskBytes);
    skipWithoutDisk(disk, this);
    await expectNothingLost(
      { store: join(disk.path, "store"), sync: "always" },
      {
        fill: () => disk.fill(64 << 10),
        makeRoom: async ({ kill, start }) => {
          await disk.makeRoom();
          // NATS 2.15 goes on refusing what it could not write once.
          await kill();
          await start();
        },
        rule: /as when there is no room left on its disk$/,
      },
    );
  });

  it("of what its configuration allows waits, and then has every record once", () =>
    expectNothingLost(
      { jetstream: "max_file_store: 2MB", sync: "always" },
      {
        fill: (url) =>
          withStreams(url, async (streams) => {
            await streams.add({ name: "BALLAST", subjects: ["ballast"], storage: "file" });
            const connection = await connect({ servers: url });
            for (let at = 0; at < 18; at += 1) await connection.request("ballast", new Uint8Array(100_000));
            await connection.close();
          }),
        makeRoom: ({ url }) => withStreams(url, async (streams) => void (await streams.delete("BALLAST"))),
        rule: /did not take a batch: insufficient resources$|no room left on its disk$/,
      },
    ));
});
