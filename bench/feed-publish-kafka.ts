/**
 * A relay to Kafka beside a bare publisher: the same client, messages, batches, partitions and acknowledgement, an
 * idempotent producer that waits for all in sync. The bare one has its messages made beforehand, and both find a topic.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Producer } from "@platformatic/kafka";
import type { Lane } from "../src/relay/event.ts";
import { eventOf, subjectOfRecord } from "../src/relay/event.ts";
import { clientOptions } from "../src/relay/kafka/client.ts";
import { kafkaDestination, kafkaMessage } from "../src/relay/kafka/kafka.ts";
import { keptSettings, partitionOf } from "../src/relay/kafka/topic.ts";
import { deleteTopics, plainConnection, withAdmin } from "../test/contract/kafka-messages.ts";
import { startKafka } from "../test/contract/kafka-server.ts";
import { event, feedItems, goldenFeed, relayAll, type Feed } from "./feed-publish.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";

const partitions = 6;

const createTopic = (server: string, topic: string): Promise<unknown> =>
  withAdmin(server, (admin) =>
    admin.createTopics({
      topics: [{ topic, partitions, replicas: 1 }],
      configs: Object.entries(keptSettings).map(([name, value]) => ({ name, value })),
    }),
  );

const messagesOf = ({ origin, items }: Feed, topic: string) => {
  const lasts = new Map<number, bigint>();
  return items.map((item) => {
    const key = item.record === undefined ? undefined : subjectOfRecord(item.record.body);
    const partition = partitionOf(key, partitions);
    const lane: Lane = { generation: 1, prev: lasts.get(partition), name: String(partition) };
    lasts.set(partition, item.position);
    return kafkaMessage(topic, eventOf(item, { ...event, origin }, lane), item.position);
  });
};

const publishBare = async (server: string, feed: Feed, topic: string): Promise<number> => {
  const messages = messagesOf(feed, topic);
  const producer = new Producer({ ...(await clientOptions(plainConnection(server))), idempotent: true });
  const startMs = performance.now();
  for (let at = 0; at < messages.length; at += feedItems) {
    await producer.send({ messages: messages.slice(at, at + feedItems) });
  }
  const elapsedMs = performance.now() - startMs;
  await producer.close();
  return elapsedMs;
};

const relayToKafka = (server: string, feed: Feed, topic: string, directory: string): Promise<number> => {
  const connection = plainConnection(server);
  const target = { connection, topic, partitions, replicas: 1, messageBytesMax: 1 << 20 };
  return relayAll(feed, kafkaDestination(target), join(directory, `${topic}.json`));
};

export const measureKafka = async (scale: FeedScale): Promise<readonly string[]> => {
  await using kafka = await startKafka({ compiler: "full" });
  const feed = await goldenFeed(scale.records);
  const { server } = kafka;
  // Until the coordinator has loaded, no producer gets an id; and both find a server that is warm.
  await createTopic(server, "warm");
  for (let tries = 0; ; tries += 1) {
    try {
      await publishBare(server, feed, "warm");
      break;
    } catch (cause) {
      if (tries > 20) throw cause;
      await delay(500);
    }
  }
  const rates = await inTurns(["relay", "bare publisher"], scale.rounds, async (load, round) => {
    const topic = `${load === "relay" ? "r" : "b"}${round}`;
    await createTopic(server, topic);
    while (!(await withAdmin(server, (admin) => admin.listTopics())).includes(topic)) await delay(50);
    await delay(500);
    const elapsedMs = await (load === "relay"
      ? relayToKafka(server, feed, topic, scale.directory)
      : publishBare(server, feed, topic));
    await deleteTopics(server, topic);
    return (feed.items.length * 1000) / elapsedMs;
  });
  return describeRates(rates, "records", ["relay", "bare publisher"]);
};
