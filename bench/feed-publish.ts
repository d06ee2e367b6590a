/**
 * A relay to NATS beside a bare publisher: the same client, messages, batches and sync setting. The bare one has its
 * messages made beforehand and does nothing but publish them and wait for the acknowledgement of each batch.
 */
import { join } from "node:path";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import type { FeedItem } from "@sigil/core/record";
import { relayNatsBatchEventsMax } from "../src/limits.ts";
import { eventOf, headersOf } from "../src/relay/event.ts";
import type { Destination } from "../src/relay/destination.ts";
import { natsDestination } from "../src/relay/nats.ts";
import { subjectOf } from "../src/relay/nats-subject.ts";
import { Relay } from "../src/relay/relay.ts";
import { generateLedger } from "../test/contract/golden-ledger.ts";
import { startNats } from "../test/contract/nats-server.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";

/** Records a batch of the feed. */
export const feedItems = 256;
const pollMs = 2;
export const event = {
  typePrefix: "sigil",
  data: "full",
  format: "envelope",
  disclosures: "withheld",
} as const;

export type Feed = { readonly origin: string; readonly items: readonly FeedItem[] };
type Run = { readonly feed: Feed; readonly url: string; readonly stream: string; readonly directory: string };

const publishBare = async ({ feed, url, stream }: Run): Promise<number> => {
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name: stream,
    subjects: [`${stream}.>`],
    storage: "file",
    allow_atomic: true,
    allow_direct: true,
  });
  const messages = feed.items.map((item, at) => {
    const prev = feed.items[at - 1]?.position;
    const made = eventOf(item, { ...event, origin: feed.origin }, { generation: 1, prev });
    const header = headers();
    for (const [name, value] of headersOf(made)) header.set(name, value);
    const place = at % relayNatsBatchEventsMax;
    const isLast = place === relayNatsBatchEventsMax - 1 || at === feed.items.length - 1;
    header.set("Nats-Batch-Id", `${stream}-${Math.floor(at / relayNatsBatchEventsMax)}`);
    header.set("Nats-Batch-Sequence", String(place + 1));
    if (isLast) header.set("Nats-Batch-Commit", "1");
    return { subject: subjectOf(stream, made), data: made.data?.bytes, header, isLast };
  });
  const startMs = performance.now();
  for (const { subject, data, header, isLast } of messages) {
    if (!isLast) {
      connection.publish(subject, data, { headers: header });
      continue;
    }
    const answer = await connection.request(subject, data, { headers: header, timeout: 10_000 });
    const { error } = answer.json<{ readonly error?: { readonly description?: string } }>();
    if (error !== undefined) throw new Error(`the bare publisher: ${error.description ?? "refused"}`);
  }
  const elapsedMs = performance.now() - startMs;
  await manager.streams.delete(stream);
  await connection.close();
  return elapsedMs;
};

/** @returns milliseconds from the relay's connection on. */
export const relayAll = async (
  { origin, items }: Feed,
  destination: Destination,
  cursorPath: string,
): Promise<number> => {
  let failure: string | undefined;
  // From its connection on, as for the bare publisher.
  let startMs: number | undefined;
  const relay = await Relay.start({
    name: "bench",
    source: {
      origin,
      size: () => BigInt(items.length),
      hasLeaf: async () => true,
      positionOf: async () => undefined,
      async *from(position, { signal }) {
        for (let at = Number(position); at < items.length && !signal.aborted; at += feedItems) {
          const batch = items.slice(at, at + feedItems);
          yield { items: batch, next: BigInt(at + batch.length), checkpoint: "" };
        }
        while (!signal.aborted) await delay(pollMs);
      },
    },
    destination,
    filter: { tenants: undefined, kinds: undefined, spaces: undefined },
    event,
    from: 0n,
    cursorPath,
    observer: {
      onState: (state, error) => {
        if (state === "running") startMs ??= performance.now();
        failure ??= error?.rule;
      },
      onFailure: () => {},
      onLost: () => {},
      onPublished: () => {},
    },
    nowMs: Date.now,
    random: Math.random,
    sleep: async (ms, signal) => {
      await delay(ms, undefined, { signal, ref: false }).catch(() => {});
    },
    turn: () => turn(),
  });
  while (relay.status.next < items.length && failure === undefined) await delay(pollMs);
  const endMs = performance.now();
  await relay.close();
  if (failure !== undefined || startMs === undefined) throw new Error(`the relay: ${failure ?? "not run"}`);
  return endMs - startMs;
};

const relayToNats = async ({ feed, url, stream, directory }: Run): Promise<number> => {
  const target = { servers: [url], stream, subjectPrefix: stream, replicas: 1, tls: null } as const;
  const destination = natsDestination({ ...target, credentials: { kind: "none" } });
  const elapsedMs = await relayAll(feed, destination, join(directory, `${stream}.json`));
  const connection = await connect({ servers: url });
  await (await jetstreamManager(connection)).streams.delete(stream);
  await connection.close();
  return elapsedMs;
};

export const goldenFeed = async (count: number): Promise<Feed> => {
  const { origin, places } = await generateLedger({ seed: 1, count });
  const items = places.map(({ leaf, envelope, hash, body }, at) => ({
    position: BigInt(at),
    leaf,
    record: { position: BigInt(at), version: 1n, envelope, hash, body },
  }));
  return { origin, items };
};

export const measurePublishing = async (scale: FeedScale): Promise<readonly string[]> => {
  await using nats = await startNats({ sync: "always" });
  const feed = await goldenFeed(scale.records);
  const rates = await inTurns(["relay", "bare publisher"], scale.rounds, async (load, round) => {
    const stream = `${load === "relay" ? "R" : "B"}${round}`;
    const run = { feed, url: nats.url, stream, directory: scale.directory };
    return (feed.items.length * 1000) / (await (load === "relay" ? relayToNats(run) : publishBare(run)));
  });
  return describeRates(rates, "records", ["relay", "bare publisher"]);
};
