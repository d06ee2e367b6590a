/**
 * From a check to its row: server, relay, NATS, a consumer that verifies, PostgreSQL, committed. Checks come at half
 * the rate that the server reaches with all of it running; all of it shares this machine. The clock of the record is
 * the server's, in whole milliseconds.
 */
import { setTimeout as delay } from "node:timers/promises";
import { fromHex, parseHash } from "@sigil/core/bytes";
import { verifyOwn } from "@sigil/core/keys";
import { openNatsStream } from "../src/cli/project/nats-source.ts";
import { openPostgresProjection } from "../src/projections/postgres/projection.ts";
import { project } from "../src/projections/project.ts";
import type { Gathered, ProjectionStore } from "../src/projections/store.ts";
import { startNats } from "../test/contract/nats-server.ts";
import { startPostgres } from "../test/contract/postgres.ts";
import { connectTo } from "../test/contract/projection.ts";
import { startActor } from "./actor.ts";
import type { Drive, DriveInput, Driven } from "./drive-calls.ts";
import type { FeedScale } from "./feed-scale.ts";
import { makeScratch } from "./scratch.ts";
import type { ServeInput } from "./serve-sigil.ts";
import { quantileOf } from "./statistics.ts";

const inFlight = 64;
const warmUpMs = 1000;
const pollMs = 20;
const caughtUpMsMax = 60_000;
const stream = "LAG";

/** Notes when the rows of a decision are committed. */
const timed = (store: ProjectionStore, note: (lagMs: number) => void, applied: (next: bigint) => void) => ({
  resume: () => store.resume(),
  publish: () => store.publish(),
  apply: async (gathered: Gathered) => {
    const erased = await store.apply(gathered);
    const nowMs = Date.now();
    for (const { record } of gathered.places) {
      if (record?.body.kind === "frozen_chain") note(nowMs - record.body.ts);
    }
    applied(gathered.progress.next);
    return erased;
  },
});

export const measureLag = async ({ directory, rounds, runMs }: FeedScale): Promise<readonly string[]> => {
  await using nats = await startNats({ sync: "always" });
  await using postgres = await startPostgres({ settings: ["fsync = on", "log_statement = none"] });
  const scratch = await makeScratch(directory, "lagging");
  const relays = JSON.stringify([{ name: "bus", to: "nats", servers: [nats.url], stream }]);
  await using served = startActor("serve-sigil.ts", { ...scratch, relays } satisfies ServeInput);
  const target = await served.ask<string>("target");
  const genesis = parseHash(fromHex(await served.ask<string>("genesis")));
  await using driver = startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);
  const drive = (runForMs: number, perSecond?: number): Promise<Driven> => {
    const pace = perSecond === undefined ? {} : { perSecond };
    return driver.ask("drive", { rpc: "check", inFlight, runMs: runForMs, ...pace } satisfies Drive);
  };
  // The relay has made its stream by then.
  await drive(warmUpMs);
  await using opened = await openNatsStream({ server: nats.url, stream, credentialsPath: undefined });
  const client = await connectTo(postgres.address());
  const stopping = new AbortController();
  let [lags, next]: [number[], bigint] = [[], 0n];
  const store = await openPostgresProjection(client, { name: "lag", genesis, mode: "resume", readers: [] });
  const projecting = project({
    genesis,
    verify: verifyOwn,
    lanes: "one",
    source: opened.source,
    store: timed(
      store,
      (lagMs) => lags.push(lagMs),
      (applied) => (next = applied),
    ),
    size: await opened.size(),
    sourceSize: opened.size,
    onCaughtUp: "follow",
    signal: stopping.signal,
  });
  // Awaited below; a failure meanwhile shows as never caught up.
  projecting.catch(() => {});
  const caughtUp = async (): Promise<void> => {
    const size = BigInt(await served.ask<number>("size"));
    for (let waitedMs = 0; next < size; waitedMs += pollMs) {
      if (waitedMs > caughtUpMsMax) throw new Error(`the projection is at ${next} of ${size}`);
      await delay(pollMs);
    }
  };
  try {
    await caughtUp();
    const { decisions, elapsedMs } = await drive(runMs);
    const full = (decisions * 1000) / elapsedMs;
    await caughtUp();
    lags = [];
    const half = await drive(runMs * rounds, full / 2);
    await caughtUp();
    const rate = (half.decisions * 1000) / half.elapsedMs;
    const [median, p99] = [quantileOf(lags, 0.5), quantileOf(lags, 0.99)];
    return [
      `full load: ${full.toFixed(0)} checks a second`,
      `half load: ${rate.toFixed(0)} checks a second; lag median ${median} ms, p99 ${p99} ms, ${lags.length} rows`,
    ];
  } finally {
    stopping.abort();
    await projecting.catch(() => {});
    await client.end();
  }
};
