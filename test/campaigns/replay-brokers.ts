/**
 * What carries a golden ledger to the consumers of `campaign:replay`. A broker is a row here: real, started for the
 * campaign, and as bad as its protocol allows.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Producer } from "@platformatic/kafka";
import { clientOptions } from "../../src/relay/kafka/client.ts";
import { kafkaDestination, kafkaMessage } from "../../src/relay/kafka/kafka.ts";
import { natsDestination } from "../../src/relay/nats.ts";
import type { RelayEvent } from "../../src/relay/event.ts";
import { groupOf, sqsDestination } from "../../src/relay/sqs/sqs.ts";
import { appendLines, rotateEvents } from "../contract/golden-files.ts";
import { inGeneration, partitioner } from "../contract/kafka-events.ts";
import { plainConnection } from "../contract/kafka-messages.ts";
import { kafkaMissing, startKafka } from "../contract/kafka-server.ts";
import { natsMissing, startNats } from "../contract/nats-server.ts";
import { createQueue, sqsMissing, sqsRegion, startSqs } from "../contract/sqs-server.ts";

export type ReplayBroker = {
  /** Why it is not here. */
  readonly missing: string | undefined;
  readonly start: () => Promise<StartedBroker>;
};

export type StartedBroker = AsyncDisposable & {
  /** What events are linked within: "one" unless told. */
  readonly lanes?: "ids";
  /** What tells `sigil project` of it. */
  readonly words: readonly string[];
  /**
   * Durable when it resolves, in as little order as the protocol keeps. Of an earlier batch it gets some again, and all
   * of it after a failure.
   */
  readonly publish: (events: readonly RelayEvent[], random: () => number) => Promise<void>;
  /** Killed while others publish and read, and back with its data when it resolves. */
  readonly disturb: () => Promise<void>;
  /** Gets every event once more, before it is read from position 0 again: a broker that keeps nothing needs that. */
  readonly republish?: (events: readonly RelayEvent[]) => Promise<void>;
};

const startFiles = async (): Promise<StartedBroker> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-replay-"));
  return {
    words: ["--from", `file:${directory}`],
    publish: async (events) => {
      const [first, last] = [events[0], events.at(-1)];
      if (first === undefined || last === undefined) return;
      await appendLines(directory, events);
      await rotateEvents(directory, [Number(first.position), Number(last.position) + 1]);
    },
    // Nothing runs that could be killed.
    disturb: async () => {},
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
};

const startStream = async (): Promise<StartedBroker> => {
  const nats = await startNats();
  const { signal } = new AbortController();
  return {
    words: ["--from", `${nats.url}/REPLAY`],
    publish: async (events) => {
      await using destination = await natsDestination({
        servers: [nats.url],
        stream: "REPLAY",
        subjectPrefix: "replay",
        replicas: 1,
        credentials: { kind: "none" },
        tls: null,
      }).open(signal, async () => undefined);
      await destination.lastPublished();
      const { batchEventsMax } = destination.limits;
      for (let at = 0; at < events.length; at += batchEventsMax)
        await destination.publish(events.slice(at, at + batchEventsMax), signal);
    },
    disturb: async () => {
      await nats.kill();
      await nats.start();
    },
    [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose](),
  };
};

/** A partition comes whole before another has begun, as where producers try again: only within one there is order. */
const publishPartitions = async (
  server: string,
  events: readonly RelayEvent[],
  random: () => number,
): Promise<void> => {
  const settled = events[0]?.position ?? 0n;
  const producer = new Producer({ ...(await clientOptions(plainConnection(server))), idempotent: true });
  try {
    const lanes = [...Map.groupBy(events, ({ lane }) => lane).values()];
    for (; lanes.length > 0;) {
      const [lane = []] = lanes.splice(Math.floor(random() * lanes.length), 1);
      await producer.send({ messages: lane.map((event) => kafkaMessage("replay", event, settled)) });
    }
  } finally {
    await producer.close(true);
  }
};

const startTopics = async (): Promise<StartedBroker> => {
  const kafka = await startKafka();
  const { signal } = new AbortController();
  const inPartitions = partitioner(3);
  return {
    words: ["--from", `kafka://${kafka.server}/replay`],
    publish: async (events, random) => {
      const linked = inPartitions(events);
      await using destination = await kafkaDestination({
        connection: plainConnection(kafka.server),
        topic: "replay",
        partitions: 3,
        replicas: 1,
        messageBytesMax: 2 << 20,
      }).open(signal, async () => undefined);
      const { batchEventsMax } = destination.limits;
      const isThere = (await destination.lastPublished()).kind === "lanes";
      for (let at = 0; at < linked.length; at += batchEventsMax) {
        const batch = linked.slice(at, at + batchEventsMax);
        if (isThere && random() < 0.5) await publishPartitions(kafka.server, batch, random);
        else await destination.publish(batch, signal);
      }
    },
    disturb: async () => {
      await kafka.kill();
      await kafka.start();
    },
    [Symbol.asyncDispose]: () => kafka[Symbol.asyncDispose](),
  };
};

/** As a consumer may get them: each group in its order, and the groups in any. */
const withinGroups = (events: readonly RelayEvent[], random: () => number): readonly RelayEvent[] => {
  const groups = Map.groupBy(events, (event) => groupOf(event, "record"));
  const keyed = [...groups.values()].map((group) => ({ group, key: random() }));
  return keyed.sort((one, other) => one.key - other.key).flatMap(({ group }) => group);
};

/** Groups come in any order, and some messages twice: those of another generation, as beyond the five minutes. */
const startQueue = async (): Promise<StartedBroker> => {
  const sqs = await startSqs();
  const { signal } = new AbortController();
  const queue = "replay.fifo";
  // What a killed consumer had comes again this soon.
  await createQueue(sqs.url, queue, { VisibilityTimeout: "3" });
  const send = async (events: readonly RelayEvent[]): Promise<void> => {
    await using destination = await sqsDestination({
      queue,
      region: sqsRegion,
      endpoint: sqs.url,
      owner: "",
      groups: "record",
      onMissing: "fail",
    }).open(signal, async () => undefined);
    for (let at = 0; at < events.length; at += destination.limits.batchEventsMax)
      await destination.publish(events.slice(at, at + destination.limits.batchEventsMax), signal);
  };
  let generation = 1;
  return {
    lanes: "ids",
    words: ["--from", `sqs://${sqsRegion}/${queue}`, "--sqs-endpoint", sqs.url],
    publish: async (events, random) => {
      // In another generation ids against repeats are others.
      generation += random() < 0.3 ? 1 : 0;
      await send(inGeneration(withinGroups(events, random), generation));
    },
    republish: (events) => send(inGeneration(events, generation + 1)),
    disturb: async () => {
      await sqs.kill();
      await sqs.start();
    },
    [Symbol.asyncDispose]: () => sqs[Symbol.asyncDispose](),
  };
};

export const replayBrokers: Readonly<Record<string, ReplayBroker>> = {
  files: { missing: undefined, start: startFiles },
  nats: { missing: natsMissing, start: startStream },
  kafka: { missing: kafkaMissing, start: startTopics },
  sqs: { missing: sqsMissing, start: startQueue },
};
