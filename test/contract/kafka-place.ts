/** Topics of a relay in a test's own Kafka, and the relay's cursor. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kafkaDestination, type KafkaOptions } from "../../src/relay/kafka/kafka.ts";
import { deleteTopics, plainConnection, readTopicMessages, type TopicMessage } from "./kafka-messages.ts";
import { startRelay, type DestinationPlace, type RelayLedger } from "./relay-world.ts";

const plain = { partitions: 3, replicas: 1, messageBytesMax: 1 << 20 } as const;

let made = 0;

type KafkaPlace = Omit<DestinationPlace, "messages"> & {
  readonly topic: string;
  readonly messages: () => Promise<readonly TopicMessage[]>;
};

export const openKafkaPlace = async (
  server: string,
  options: Partial<KafkaOptions> = {},
): Promise<KafkaPlace> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  made += 1;
  const topic = `t${made}`;
  return {
    topic,
    cursorPath: join(root, "cursor.json"),
    destination: (onStep) =>
      kafkaDestination({
        connection: plainConnection(server),
        topic,
        ...plain,
        ...options,
        ...(onStep === undefined ? {} : { onStep }),
      }),
    messages: () => readTopicMessages(server, topic),
    wipe: () => deleteTopics(server, topic),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};

export const startAt = (place: KafkaPlace, source: RelayLedger) =>
  startRelay({ source, destination: place.destination(), cursorPath: place.cursorPath });
