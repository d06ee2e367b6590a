/**
 * A relay to SQS beside a bare publisher: the same client, messages, groups and batches of ten, one request after the
 * other. The bare one has its requests made beforehand, and both find a queue.
 */
import { join } from "node:path";
import { SendMessageBatchCommand, type SendMessageBatchRequestEntry } from "@aws-sdk/client-sqs";
import { sqsBatchEventsMax } from "../src/limits.ts";
import { eventOf, jsonLine } from "../src/relay/event.ts";
import { groupOf, sqsDestination } from "../src/relay/sqs/sqs.ts";
import { createQueue, queueUrl, sqsClient, sqsRegion, startSqs } from "../test/contract/sqs-server.ts";
import { event, goldenFeed, relayAll, type Feed } from "./feed-publish.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";

/** In order; of a group each request has one. */
const requestsOf = ({ origin, items }: Feed): readonly (readonly SendMessageBatchRequestEntry[])[] => {
  const requests: SendMessageBatchRequestEntry[][] = [];
  for (const item of items) {
    const made = eventOf(item, { ...event, origin }, { generation: 1, prev: undefined });
    const MessageGroupId = groupOf(made, "record");
    const last = requests.at(-1);
    const isOpen =
      last !== undefined &&
      last.length < sqsBatchEventsMax &&
      !last.some((one) => one.MessageGroupId === MessageGroupId);
    const request = isOpen ? last : [];
    if (!isOpen) requests.push(request);
    request.push({
      Id: String(request.length),
      MessageBody: jsonLine(made),
      MessageGroupId,
      MessageDeduplicationId: `1.${made.attributes["id"] ?? ""}`,
    });
  }
  return requests;
};

const publishBare = async (url: string, feed: Feed, queue: string): Promise<number> => {
  const requests = requestsOf(feed);
  const client = sqsClient(url);
  const QueueUrl = queueUrl(url, queue);
  const startMs = performance.now();
  for (const Entries of requests) {
    const { Failed = [] } = await client.send(
      new SendMessageBatchCommand({ QueueUrl, Entries: [...Entries] }),
    );
    if (Failed.length > 0) throw new Error(`the bare publisher: ${Failed[0]?.Message ?? "refused"}`);
  }
  const elapsedMs = performance.now() - startMs;
  client.destroy();
  return elapsedMs;
};

const relayToSqs = (endpoint: string, feed: Feed, queue: string, directory: string): Promise<number> => {
  const target = {
    queue,
    region: sqsRegion,
    endpoint,
    owner: "",
    groups: "record",
    onMissing: "fail",
  } as const;
  return relayAll(feed, sqsDestination(target), join(directory, `${queue}.json`));
};

export const measureSqs = async (scale: FeedScale): Promise<readonly string[]> => {
  await using sqs = await startSqs();
  const feed = await goldenFeed(scale.records);
  // Both find a server that is warm.
  await createQueue(sqs.url, "warm.fifo");
  await publishBare(sqs.url, feed, "warm.fifo");
  const rates = await inTurns(["relay", "bare publisher"], scale.rounds, async (load, round) => {
    const queue = `${load === "relay" ? "r" : "b"}${round}.fifo`;
    await createQueue(sqs.url, queue);
    const elapsedMs = await (load === "relay"
      ? relayToSqs(sqs.url, feed, queue, scale.directory)
      : publishBare(sqs.url, feed, queue));
    return (feed.items.length * 1000) / elapsedMs;
  });
  return describeRates(rates, "records", ["relay", "bare publisher"]);
};
