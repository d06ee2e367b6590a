/**
 * Kafka as a destination. CloudEvents in binary mode, keyed by record; a lane is a partition, a generation a topic. An
 * idempotent producer waits for all replicas in sync. A batch is no transaction: what a crash left in some partitions
 * is found by reading the last message of each. Source: docs/spec/event.md; the CloudEvents binding for Kafka.
 */
import { setTimeout as delay } from "node:timers/promises";
import { ConfigResourceTypes, Producer, type Admin, type BaseOptions } from "@platformatic/kafka";
import type { FeedItem } from "@sigil/core/record";
import { relayKafkaBatchEventsMax, relayKafkaLeaderMs, relayKafkaLeaderTriesMax } from "../../limits.ts";
import {
  failRelay,
  type Destination,
  type Erased,
  type Erasure,
  type Holding,
  type OpenDestination,
} from "../destination.ts";
import { isOfTenant, readEvent, subjectOfRecord, type ReadEvent, type RelayEvent } from "../event.ts";
import { clientOptions, kafkaCodes, kafkaError, withAdmin, type KafkaConnection } from "./client.ts";
import { kafkaHeaderName, messageBytesKept, settledHeader } from "./message.ts";
import { TopicReader, type StoredMessage } from "./reader.ts";
import { generationsOf, keptSettings, layoutFault, partitionOf, topicOfGeneration } from "./topic.ts";

export type KafkaOptions = {
  readonly connection: KafkaConnection;
  /** Of the first generation. */
  readonly topic: string;
  readonly partitions: number;
  /** Of a topic that the relay creates. */
  readonly replicas: number;
  /** `max.message.bytes` of a topic that the relay creates, and the limit in one that is there if it is less. */
  readonly messageBytesMax: number;
  /** Fault injection for tests: awaited between steps. */
  readonly onStep?: (step: KafkaStep) => Promise<void>;
};

export type KafkaStep =
  | "connected"
  | "held read"
  | "topic found"
  | "creating topic"
  | "topic created"
  | "sending"
  | "acknowledged"
  | "deleting"
  | "deleted";

const outOfReach = [
  "what consumers took from the topics, their mirrors, tiered storage and backups",
  "files of deleted topics, until each broker removes them (file.delete.delay.ms)",
];

type EncodedMessage = {
  readonly partition: number;
  readonly key?: Buffer;
  readonly value?: Buffer;
  readonly headers: Map<Buffer, Buffer>;
};

/** Attributes whose values are those of the message before, nearly always. */
const repeated: ReadonlySet<string> = new Set([
  "specversion",
  "source",
  "type",
  "sigilgeneration",
  "datacontenttype",
]);

/** By attribute: names are few, and the same in every message. */
const headerNames = new Map<string, Buffer>();
const lastValues = new Map<string, { readonly value: string; readonly bytes: Buffer }>();

const nameBytes = (attribute: string): Buffer => {
  const known = headerNames.get(attribute);
  if (known !== undefined) return known;
  const made = Buffer.from(kafkaHeaderName(attribute));
  headerNames.set(attribute, made);
  return made;
};

const valueBytes = (attribute: string, value: string): Buffer => {
  if (!repeated.has(attribute)) return Buffer.from(value);
  const last = lastValues.get(attribute);
  if (last?.value === value) return last.bytes;
  const bytes = Buffer.from(value);
  lastValues.set(attribute, { value, bytes });
  return bytes;
};

const settledName = Buffer.from(settledHeader);

/** The key of a message is its `subject`. */
const encodeMessage = ({ lane, attributes, data }: RelayEvent): EncodedMessage => {
  const headers = new Map<Buffer, Buffer>();
  let key: Buffer | undefined;
  for (const attribute of Object.keys(attributes)) {
    const bytes = valueBytes(attribute, attributes[attribute] ?? "");
    if (attribute === "subject") key = bytes;
    headers.set(nameBytes(attribute), bytes);
  }
  return {
    partition: Number(lane),
    ...(key === undefined ? {} : { key }),
    ...(data === undefined ? {} : { value: buffer(data.bytes) }),
    headers,
  };
};

/** @param settled position below which everything was acknowledged before. */
export const kafkaMessage = (
  topic: string,
  event: RelayEvent,
  settled: bigint,
  encoded: EncodedMessage = encodeMessage(event),
) => {
  encoded.headers.set(settledName, Buffer.from(String(settled)));
  return { topic, ...encoded };
};

const topicSettings = ["max.message.bytes", ...Object.keys(keptSettings)];

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const settingsOf = async (admin: Admin, topic: string): Promise<ReadonlyMap<string, string>> => {
  const resource = {
    resourceType: ConfigResourceTypes.TOPIC,
    resourceName: topic,
    configurationKeys: topicSettings,
  };
  const described = await admin.describeConfigs({ resources: [resource] });
  const configs = described.flatMap((one) => one.configs);
  return new Map(
    configs.flatMap(({ name, value }) => (typeof value !== "string" ? [] : [[name, value] as const])),
  );
};

class OpenTopics implements OpenDestination {
  readonly limits: OpenDestination["limits"];
  readonly #options: KafkaOptions;
  readonly #client: BaseOptions;
  readonly #producer: Producer;
  /** With a topic, newest first. */
  readonly #generations: readonly number[];
  readonly #prepared = new WeakMap<RelayEvent, EncodedMessage>();
  #ready: { readonly generation: number; readonly topic: string } | undefined;
  /** Where each partition of the ready topic ends. */
  readonly #ends = new Map<number, bigint>();

  constructor(
    options: KafkaOptions,
    client: BaseOptions,
    facts: { readonly generations: readonly number[]; readonly messageBytesMax: number },
  ) {
    this.#options = options;
    this.#client = client;
    this.#generations = facts.generations;
    this.#producer = new Producer({ ...client, idempotent: true });
    this.limits = {
      messageBytesMax: facts.messageBytesMax - messageBytesKept,
      batchEventsMax: relayKafkaBatchEventsMax,
      // Of one partition at most, with keys and lengths, which are less than what is counted.
      batchBytesMax: facts.messageBytesMax >> 1,
    };
  }

  readonly laneOf = ({ record }: FeedItem): string =>
    String(
      partitionOf(record === undefined ? undefined : subjectOfRecord(record.body), this.#options.partitions),
    );

  /** Of the newest generation that has messages: a topic may have been created and nothing published. */
  async lastPublished(): Promise<Holding> {
    const { connection, topic } = this.#options;
    try {
      for (const generation of this.#generations) {
        await using reader = await TopicReader.open(connection, topicOfGeneration(topic, generation));
        const holding = await this.#held(reader);
        await this.#step("held read");
        if (holding.kind !== "empty") return holding;
      }
      return { kind: "empty" };
    } catch (cause) {
      return failRelay(kafkaError(cause, `cannot read the topic ${topic}`), { cause });
    }
  }

  prepare(events: readonly RelayEvent[]): void {
    for (const event of events) this.#prepared.set(event, encodeMessage(event));
  }

  async publish(events: readonly RelayEvent[]): Promise<void> {
    const generation = Number(events[0]?.attributes["sigilgeneration"]);
    try {
      this.#ready = this.#ready?.generation === generation ? this.#ready : await this.#makeReady(generation);
      await this.#send(this.#ready.topic, events);
    } catch (cause) {
      failRelay(
        kafkaError(cause, `cannot publish to ${topicOfGeneration(this.#options.topic, generation)}`),
        {
          cause,
        },
      );
    }
  }

  /** A message cannot be changed: only topics of older generations are touched, and go whole. */
  async erase(erasure: Erasure, signal: AbortSignal): Promise<Erased> {
    const { topic } = this.#options;
    try {
      const older = this.#generations.filter((generation) => generation < erasure.generation);
      let [found, left] = [0, 0];
      let newestGeneration: number | undefined;
      for (const generation of this.#generations) {
        const name = topicOfGeneration(topic, generation);
        const count = await this.#countIn(name, erasure, signal);
        found += count;
        if (erasure.action === "purge old" && older.includes(generation)) continue;
        left += count;
        if (count > 0) newestGeneration ??= generation;
      }
      if (erasure.action === "purge old") await this.#deleteTopics(older, erasure.onProgress);
      return { isInPlace: false, found, left, newestGeneration, outOfReach };
    } catch (cause) {
      return failRelay(kafkaError(cause, `cannot erase in the topics of ${topic}`), { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#producer.close(true);
  }

  async #held(reader: TopicReader): Promise<Holding> {
    const [firsts, ends] = [await reader.offsets("first"), await reader.offsets("end")];
    const lasts = new Map<string, ReadEvent>();
    let settled = 0n;
    for (const [partition, end] of ends.entries()) {
      if (end === firsts[partition]) continue;
      const message = await reader.messageFrom(partition, end - 1n);
      const last = message === undefined ? undefined : readEvent(message.attributes);
      if (last === undefined || message?.settled === undefined) {
        const rule = `the last message of partition ${partition} of ${reader.topic} is no relay's: something else publishes there`;
        return failRelay({ kind: "refused", rule });
      }
      lasts.set(String(partition), last);
      if (message.settled > settled) ({ settled } = message);
    }
    if (lasts.size > 0) return { kind: "lanes", lasts, settled };
    return ends.every((end) => end === 0n) ? { kind: "empty" } : { kind: "unknown" };
  }

  /** Creates the topic of a generation if it is missing. @throws RelayFault if one that is there does not fit. */
  async #makeReady(generation: number): Promise<{ readonly generation: number; readonly topic: string }> {
    const { connection, partitions } = this.#options;
    const topic = topicOfGeneration(this.#options.topic, generation);
    await withAdmin(this.#client, async (admin) => {
      if (!(await admin.listTopics()).includes(topic)) await this.#create(admin, topic);
      await using reader = await TopicReader.open(connection, topic);
      const layout = { partitions: reader.partitions, settings: await settingsOf(admin, topic) };
      const fault = layoutFault(layout, partitions);
      if (fault !== undefined) failRelay({ kind: "refused", rule: `the topic ${topic} ${fault}` });
      this.#ends.clear();
      for (const [partition, end] of (await reader.offsets("end")).entries()) this.#ends.set(partition, end);
    });
    await this.#step("topic found");
    return { generation, topic };
  }

  async #create(admin: Admin, topic: string): Promise<void> {
    const { partitions, replicas, messageBytesMax } = this.#options;
    const settings = {
      ...keptSettings,
      "max.message.bytes": String(messageBytesMax),
      // All in sync have a message before it counts, and one may be away.
      "min.insync.replicas": String(Math.max(1, replicas - 1)),
    };
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await this.#step("creating topic");
    try {
      await admin.createTopics({ topics: [{ topic, partitions, replicas }], configs });
    } catch (cause) {
      // Another relay was faster, or the answer to an earlier try was lost; the layout is checked in any case.
      if (!kafkaCodes(cause).includes("TOPIC_ALREADY_EXISTS")) throw cause;
    }
    await this.#untilLed(topic);
    await this.#step("topic created");
  }

  /** Brokers hear of a new topic one after another. What is wrong after all of it, the next request says. */
  async #untilLed(topic: string): Promise<void> {
    for (let tries = 0; tries < relayKafkaLeaderTriesMax; tries += 1) {
      try {
        await using reader = await TopicReader.open(this.#options.connection, topic);
        await reader.offsets("end");
        return;
      } catch {
        await delay(relayKafkaLeaderMs);
      }
    }
  }

  async #send(topic: string, events: readonly RelayEvent[]): Promise<void> {
    const settled = events[0]?.position ?? 0n;
    const counts = new Map<number, number>();
    const messages = events.map((event) => {
      const message = kafkaMessage(topic, event, settled, this.#prepared.get(event));
      this.#prepared.delete(event);
      counts.set(message.partition, (counts.get(message.partition) ?? 0) + 1);
      return message;
    });
    await this.#step("sending");
    const { offsets = [] } = await this.#producer.send({ messages });
    await this.#step("acknowledged");
    const begun = new Map(offsets.map(({ partition, offset }) => [partition, offset]));
    for (const [partition, count] of counts) {
      const [expected, found] = [this.#ends.get(partition) ?? 0n, begun.get(partition)];
      if (found !== expected) {
        const rule = `partition ${partition} of ${topic} took messages at offset ${found ?? "unknown"}, where ${expected} was next: something else publishes there, or it lost messages`;
        failRelay({ kind: "retryable", rule });
      }
      this.#ends.set(partition, expected + BigInt(count));
    }
  }

  async #countIn(topic: string, { tenant, onProgress }: Erasure, signal: AbortSignal): Promise<number> {
    await using reader = await TopicReader.open(this.#options.connection, topic);
    let count = 0;
    for await (const messages of everyMessage(reader, signal)) {
      count += messages.filter(({ attributes }) => isOfTenant(attributes, tenant)).length;
      onProgress(`${topic}: ${count} messages of the tenant`);
    }
    return count;
  }

  async #deleteTopics(generations: readonly number[], onProgress: Erasure["onProgress"]): Promise<void> {
    for (const generation of generations) {
      const topic = topicOfGeneration(this.#options.topic, generation);
      onProgress(`deleting the topic ${topic}`);
      await this.#step("deleting");
      await withAdmin(this.#client, (admin) => admin.deleteTopics({ topics: [topic] }));
      await this.#step("deleted");
    }
  }

  async #step(step: KafkaStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

/** From the first message of each partition to where they ended when this began. */
async function* everyMessage(
  reader: TopicReader,
  signal: AbortSignal,
): AsyncGenerator<readonly StoredMessage[]> {
  const ends = await reader.offsets("end");
  const from = new Map((await reader.offsets("first")).entries());
  for (;;) {
    for (const [partition, offset] of from) if (offset >= (ends[partition] ?? 0n)) from.delete(partition);
    if (from.size === 0) return;
    signal.throwIfAborted();
    for (const [partition, { messages, next }] of await reader.fetch(from, 0)) {
      from.set(partition, next);
      yield messages;
    }
  }
}

const openTopics = async (options: KafkaOptions): Promise<OpenTopics> => {
  const { connection, topic, messageBytesMax } = options;
  const client = await clientOptions(connection);
  const facts = await withAdmin(client, async (admin) => {
    const generations = generationsOf(topic, await admin.listTopics());
    await options.onStep?.("connected");
    const [newest] = generations;
    if (newest === undefined) return { generations, messageBytesMax };
    const there = Number(
      (await settingsOf(admin, topicOfGeneration(topic, newest))).get("max.message.bytes"),
    );
    return { generations, messageBytesMax: there > 0 ? Math.min(there, messageBytesMax) : messageBytesMax };
  });
  return new OpenTopics(options, client, facts);
};

export const kafkaDestination = (options: KafkaOptions): Destination => {
  const servers = options.connection.servers.join(", ");
  return {
    describe: () => `Kafka topic ${options.topic} at ${servers}`,
    open: async () => {
      try {
        return await openTopics(options);
      } catch (cause) {
        return failRelay(kafkaError(cause, `cannot use ${servers}`), { cause });
      }
    },
  };
};
