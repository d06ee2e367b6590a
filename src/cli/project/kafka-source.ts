/**
 * Topics that a relay fills as a source: CloudEvents in binary mode, a lane for each partition of the newest
 * generation. Read by offsets, without a consumer group: a projection needs every partition, and its place is in its
 * database. Messages are merged by position: a partition that is ahead is not read on until the others have come as
 * far.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "@sigil/core/errors";
import { kafkaFetchMsMax, kafkaLookMs, kafkaRetryMs } from "../../limits.ts";
import type { LaneBatch, LaneCursor, LaneMessage, LaneSource } from "../../projections/message.ts";
import { RelayFault } from "../../relay/destination.ts";
import { clientOptions, kafkaError, withAdmin, type KafkaConnection } from "../../relay/kafka/client.ts";
import { TopicReader, type Fetched, type StoredMessage } from "../../relay/kafka/reader.ts";
import { generationsOf, topicOfGeneration } from "../../relay/kafka/topic.ts";
import { usage } from "../terminal/command.ts";
import { readMessage } from "./event-message.ts";

export type KafkaAddress = {
  readonly connection: KafkaConnection;
  /** Of the first generation. */
  readonly topic: string;
};

/** Another generation's lanes begin anew. */
const laneOf = (generation: number, partition: number): string => `kafka/${generation}/${partition}`;

/** What it read of a generation: for each partition the offset to go on from. */
type Place = { readonly generation: number; readonly next: Map<number, bigint> };

/** The newest generation that has messages, or the newest; none without a topic. */
const newestGeneration = async ({ connection, topic }: KafkaAddress): Promise<number | undefined> => {
  const names = await withAdmin(await clientOptions(connection), (admin) => admin.listTopics());
  const generations = generationsOf(topic, names);
  for (const generation of generations) {
    await using reader = await TopicReader.open(connection, topicOfGeneration(topic, generation));
    const [firsts, ends] = [await reader.offsets("first"), await reader.offsets("end")];
    if (ends.some((end, partition) => end !== firsts[partition])) return generation;
  }
  return generations[0];
};

const parse = (
  { topic, generation }: { readonly topic: string; readonly generation: number },
  { partition, offset, attributes, data }: StoredMessage,
): LaneMessage =>
  readMessage(
    laneOf(generation, partition),
    attributes,
    data ?? undefined,
    `${topic}, partition ${partition}, offset ${offset}`,
  );

const positionIn = ({ attributes }: StoredMessage): bigint => {
  const { sigilposition = "" } = attributes;
  return /^\d{1,20}$/.test(sigilposition) ? BigInt(sigilposition) : 0n;
};

/** Positions rise with offsets: binary search for the first one that is not taken. */
const offsetAfter = async (
  reader: TopicReader,
  partition: number,
  [first, end]: readonly [bigint, bigint],
  cursor: LaneCursor | undefined,
): Promise<bigint> => {
  if (cursor === undefined) return first;
  let [low, high] = [first, end];
  while (low < high) {
    const middle = (low + high) / 2n;
    const message = await reader.messageFrom(partition, middle);
    if (message === undefined || positionIn(message) > cursor.position) high = middle;
    else low = message.offset + 1n;
  }
  return low;
};

const placeAfter = async (
  reader: TopicReader,
  generation: number,
  lanes: ReadonlyMap<string, LaneCursor>,
): Promise<Place> => {
  const [firsts, ends] = [await reader.offsets("first"), await reader.offsets("end")];
  const next = new Map<number, bigint>();
  for (const [partition, first] of firsts.entries()) {
    const cursor = lanes.get(laneOf(generation, partition));
    next.set(partition, await offsetAfter(reader, partition, [first, ends[partition] ?? first], cursor));
  }
  return { generation, next };
};

type Queue = { messages: StoredMessage[]; readonly fetched: Fetched };

/** In order of positions, as far as no partition that may have an earlier one is empty. */
const merge = (queues: ReadonlyMap<number, Queue>, next: Map<number, bigint>): readonly StoredMessage[] => {
  const merged: StoredMessage[] = [];
  for (;;) {
    let least: Queue | undefined;
    let leastPosition = 0n;
    for (const queue of queues.values()) {
      const [head] = queue.messages;
      if (head === undefined) {
        if (!queue.fetched.isAtEnd) return merged;
        continue;
      }
      const position = positionIn(head);
      if (least === undefined || position < leastPosition) [least, leastPosition] = [queue, position];
    }
    const message = least?.messages.shift();
    if (least === undefined || message === undefined) return merged;
    merged.push(message);
    next.set(message.partition, least.messages.length === 0 ? least.fetched.next : message.offset + 1n);
  }
};

const mostSettled = (messages: readonly StoredMessage[], settled: bigint): bigint =>
  messages.reduce((most, one) => ((one.settled ?? 0n) > most ? (one.settled ?? 0n) : most), settled);

/** Until a newer generation is to be looked for. At most one fetch of each partition is held. */
async function* readOn(
  reader: TopicReader,
  { generation, next }: Place,
  signal: AbortSignal,
): AsyncGenerator<LaneBatch> {
  const { topic } = reader;
  const queues = new Map<number, Queue>();
  let settled = 0n;
  let heardMs = performance.now();
  while (!signal.aborted) {
    const wanted = new Map([...next].filter(([partition]) => !queues.get(partition)?.messages.length));
    const isDrained = wanted.size === next.size;
    const fetched = await reader.fetch(wanted, isDrained ? kafkaFetchMsMax : 0);
    for (const [partition, answer] of fetched) {
      queues.set(partition, { messages: [...answer.messages], fetched: answer });
      if (answer.messages.length === 0) next.set(partition, answer.next);
    }
    // What was settled before all of this was fetched is in what was read by now.
    const isWhole = isDrained && [...fetched.values()].every(({ isAtEnd }) => isAtEnd);
    const known = settled;
    settled = mostSettled(
      [...fetched.values()].flatMap(({ messages }) => messages),
      settled,
    );
    const messages = merge(queues, next).map((message) => parse({ topic, generation }, message));
    if (messages.length > 0 || isWhole) yield isWhole ? { messages, settled: known } : { messages };
    if (messages.length > 0) heardMs = performance.now();
    else if (isWhole && performance.now() - heardMs > kafkaLookMs) {
      yield { messages: [], isDrained: true };
      return;
    }
  }
}

/** Failures of brokers are waited out. @throws usage for what an operator must change, and for what no relay wrote. */
async function* follow(
  address: KafkaAddress,
  lanes: ReadonlyMap<string, LaneCursor>,
  signal: AbortSignal,
): AsyncGenerator<LaneBatch> {
  let place: Place | undefined;
  while (!signal.aborted) {
    try {
      const generation = (await newestGeneration(address)) ?? place?.generation ?? 1;
      await using reader = await TopicReader.open(
        address.connection,
        topicOfGeneration(address.topic, generation),
      );
      if (place?.generation !== generation) place = await placeAfter(reader, generation, lanes);
      yield* readOn(reader, place, signal);
    } catch (cause) {
      if (cause instanceof Fault && !(cause instanceof RelayFault)) throw cause;
      const { kind, rule } = kafkaError(cause, `${address.topic} cannot be read`);
      if (kind !== "retryable") usage(`--from: ${rule}`);
      await delay(kafkaRetryMs, undefined, { signal }).catch(() => {});
    }
  }
}

type Extent = {
  /** One past the newest position. */
  readonly size: bigint;
  readonly partitions: number;
};

const extentOf = async (address: KafkaAddress): Promise<Extent> => {
  const generation = await newestGeneration(address);
  if (generation === undefined) return usage(`there is no topic ${address.topic}`);
  await using reader = await TopicReader.open(
    address.connection,
    topicOfGeneration(address.topic, generation),
  );
  const [firsts, ends] = [await reader.offsets("first"), await reader.offsets("end")];
  let size = 0n;
  for (const [partition, end] of ends.entries()) {
    const last = end === firsts[partition] ? undefined : await reader.messageFrom(partition, end - 1n);
    if (last !== undefined && positionIn(last) >= size) size = positionIn(last) + 1n;
  }
  return { size, partitions: reader.partitions };
};

export type OpenedTopic = {
  readonly source: LaneSource;
  readonly size: () => Promise<bigint>;
  readonly lanes: "one" | "several";
};

/** @throws usage for servers or a topic that cannot be read. */
export const openKafkaTopic = async (address: KafkaAddress): Promise<OpenedTopic> => {
  const servers = address.connection.servers.join(",");
  const extent = async (): Promise<Extent> => {
    try {
      return await extentOf(address);
    } catch (cause) {
      if (cause instanceof Fault && !(cause instanceof RelayFault)) throw cause;
      return usage(`--from: ${kafkaError(cause, `${servers}/${address.topic} cannot be read`).rule}`);
    }
  };
  const { partitions } = await extent();
  return {
    size: async () => (await extent()).size,
    lanes: partitions === 1 ? "one" : "several",
    source: { after: (lanes, { signal }) => follow(address, lanes, signal) },
  };
};
