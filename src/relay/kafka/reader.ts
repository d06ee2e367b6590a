/**
 * Reads a topic by offsets, without a consumer group: who reads needs every partition, and keeps its own place. What is
 * of a transaction is read once it is committed. One fetch holds at most `kafkaFetchBytes` a partition, or one batch.
 */
import { Consumer, FetchIsolationLevels, ListOffsetTimestamps, type RecordsBatch } from "@platformatic/kafka";
import { kafkaFetchBytes } from "../../limits.ts";
import { failRelay } from "../destination.ts";
import { clientOptions, type KafkaConnection } from "./client.ts";
import { readKafkaHeaders, type ReadHeaders } from "./message.ts";

export type StoredMessage = ReadHeaders & {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly data: Buffer | null;
};

export type Fetched = {
  readonly messages: readonly StoredMessage[];
  /** Offset to go on from. */
  readonly next: bigint;
  /** Whether nothing was behind them. */
  readonly isAtEnd: boolean;
};

/** Of a commit or an abort, in a batch's attributes. */
const controlBit = 0x20;

const textOf = (bytes: Buffer | null): string => bytes?.toString("utf8") ?? "";

const messagesOf = (partition: number, batch: RecordsBatch, from: bigint): readonly StoredMessage[] =>
  batch.records.flatMap(({ offsetDelta, key, value, headers }) => {
    const offset = batch.firstOffset + BigInt(offsetDelta);
    if (offset < from) return [];
    const read = readKafkaHeaders(headers.map(([name, text]) => [textOf(name), textOf(text)] as const));
    return [{ ...read, partition, offset, key, data: value }];
  });

type Partition = { readonly leader: number; readonly index: number };

export class TopicReader implements AsyncDisposable {
  readonly topic: string;
  readonly #consumer: Consumer;
  readonly #topicId: string;
  readonly #partitions: readonly Partition[];
  /** One past each partition's last committed message, as last heard: an answer leaves out what has not changed. */
  readonly #ends = new Map<number, bigint>();

  private constructor(consumer: Consumer, topic: string, topicId: string, partitions: readonly Partition[]) {
    this.#consumer = consumer;
    this.topic = topic;
    this.#topicId = topicId;
    this.#partitions = partitions;
  }

  /** @throws what the client throws, also for a topic that is not there. */
  static async open(connection: KafkaConnection, topic: string): Promise<TopicReader> {
    const consumer = new Consumer({
      ...(await clientOptions(connection)),
      // Required, and never joined.
      groupId: "sigil",
      isolationLevel: FetchIsolationLevels.READ_COMMITTED,
    });
    try {
      const found = (await consumer.metadata({ topics: [topic] })).topics.get(topic);
      if (found === undefined)
        return failRelay({ kind: "retryable", rule: `the topic ${topic} is not there` });
      const partitions = found.partitions.map(({ leader }, index) => ({ leader, index }));
      return new TopicReader(consumer, topic, found.id, partitions);
    } catch (error) {
      await consumer.close();
      throw error;
    }
  }

  get partitions(): number {
    return this.#partitions.length;
  }

  /** Offsets of each partition's first message, or one past its last. */
  async offsets(which: "first" | "end"): Promise<readonly bigint[]> {
    const timestamp = which === "first" ? ListOffsetTimestamps.EARLIEST : ListOffsetTimestamps.LATEST;
    const found = await this.#consumer.listOffsets({ topics: [this.topic], timestamp });
    return found.get(this.topic) ?? [];
  }

  /**
   * Waits up to `waitMs` while there is nothing.
   * @param from offsets by partition; others are not read. @returns in the order of the partitions.
   */
  async fetch(from: ReadonlyMap<number, bigint>, waitMs: number): Promise<ReadonlyMap<number, Fetched>> {
    const leaders = new Set(
      this.#partitions.filter(({ index }) => from.has(index)).map(({ leader }) => leader),
    );
    const answers = await Promise.all([...leaders].map((leader) => this.#fetchFrom(leader, from, waitMs)));
    return new Map(answers.flat().toSorted(([one], [other]) => one - other));
  }

  /** The message at an offset, or the first one after it. */
  async messageFrom(partition: number, offset: bigint): Promise<StoredMessage | undefined> {
    const fetched = await this.fetch(new Map([[partition, offset]]), 0);
    return fetched.get(partition)?.messages[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.close();
  }

  async #fetchFrom(
    leader: number,
    from: ReadonlyMap<number, bigint>,
    waitMs: number,
  ): Promise<readonly (readonly [number, Fetched])[]> {
    const partitions = this.#partitions
      .filter((one) => one.leader === leader && from.has(one.index))
      .map(({ index }) => ({
        partition: index,
        currentLeaderEpoch: -1,
        fetchOffset: from.get(index) ?? 0n,
        lastFetchedEpoch: -1,
        partitionMaxBytes: kafkaFetchBytes,
      }));
    const { responses } = await this.#consumer.fetch({
      node: leader,
      maxWaitTime: waitMs,
      minBytes: 1,
      maxBytes: kafkaFetchBytes * partitions.length,
      topics: [{ topicId: this.#topicId, partitions }],
    });
    const answered = new Map(
      responses.flatMap((topic) => topic.partitions).map((one) => [one.partitionIndex, one] as const),
    );
    return partitions.map(({ partition, fetchOffset }) => {
      const answer = answered.get(partition);
      if (answer !== undefined) this.#ends.set(partition, answer.lastStableOffset);
      const batches = answer?.records ?? [];
      const messages = batches
        .filter(({ attributes }) => (attributes & controlBit) === 0)
        .flatMap((batch) => messagesOf(partition, batch, fetchOffset));
      const last = batches.at(-1);
      const next = last === undefined ? fetchOffset : last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
      return [partition, { messages, next, isAtEnd: next >= (this.#ends.get(partition) ?? 0n) }] as const;
    });
  }
}
