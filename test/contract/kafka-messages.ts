/** Everything that a relay published to Kafka, read as a consumer does; and the topics, treated as others may. */
import { setTimeout as delay } from "node:timers/promises";
import { Producer, type Admin } from "@platformatic/kafka";
import {
  clientOptions,
  withAdmin as withClientAdmin,
  type KafkaConnection,
} from "../../src/relay/kafka/client.ts";
import { TopicReader } from "../../src/relay/kafka/reader.ts";
import { generationsOf, topicOfGeneration } from "../../src/relay/kafka/topic.ts";
import type { SeenMessage } from "./relay-world.ts";

export const plainConnection = (server: string): KafkaConnection => ({
  servers: [server],
  tls: null,
  login: { kind: "none" },
});

export const withAdmin = async <Result>(
  server: string,
  use: (admin: Admin) => Promise<Result>,
): Promise<Result> => withClientAdmin(await clientOptions(plainConnection(server)), use);

export const topicsOf = (server: string, topic: string): Promise<readonly string[]> =>
  withAdmin(server, async (admin) =>
    generationsOf(topic, await admin.listTopics())
      .toReversed()
      .map((generation) => topicOfGeneration(topic, generation)),
  );

export type TopicMessage = SeenMessage & {
  readonly lane: string;
  readonly key: string | undefined;
  readonly subject?: string;
};

const readTriesMax = 10;
const readAgainMs = 500;

const readAll = async (server: string, topic: string): Promise<readonly TopicMessage[]> => {
  const messages: TopicMessage[] = [];
  for (const name of await topicsOf(server, topic)) {
    await using reader = await TopicReader.open(plainConnection(server), name);
    const ends = await reader.offsets("end");
    for (const [partition, first] of (await reader.offsets("first")).entries()) {
      for (let offset = first; offset < (ends[partition] ?? 0n);) {
        const fetched = (await reader.fetch(new Map([[partition, offset]]), 0)).get(partition);
        if (fetched === undefined) break;
        for (const { attributes, data, key } of fetched.messages) {
          const body = data === null ? {} : { data };
          messages.push({ ...attributes, ...body, lane: String(partition), key: key?.toString() });
        }
        offset = fetched.next;
      }
    }
  }
  return messages;
};

/**
 * Of every generation's topic, partition by partition. A busy broker refuses reads of a topic that was made or deleted
 * a moment ago.
 */
export const readTopicMessages = async (
  server: string,
  topic: string,
  tries = 1,
): Promise<readonly TopicMessage[]> => {
  try {
    return await readAll(server, topic);
  } catch (error) {
    if (tries >= readTriesMax) throw error;
    await delay(readAgainMs);
    return readTopicMessages(server, topic, tries + 1);
  }
};

export const deleteTopics = async (server: string, topic: string): Promise<void> => {
  const topics = [...(await topicsOf(server, topic))];
  if (topics.length > 0) await withAdmin(server, (admin) => admin.deleteTopics({ topics }));
};

/** A message of somebody else's. */
export const produceForeign = async (server: string, topic: string, partition: number): Promise<void> => {
  const producer = new Producer({ ...(await clientOptions(plainConnection(server))) });
  try {
    await producer.send({ messages: [{ topic, partition, value: Buffer.from("theirs") }] });
  } finally {
    await producer.close();
  }
};
