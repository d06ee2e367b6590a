/**
 * A FIFO queue of SQS: its client, its address and the attributes that count. Credentials come from the chain of the
 * SDK (environment, profile, role), read again as they expire. Requests go to the endpoint alone, whatever address a
 * queue says it has. Source: Amazon SQS API reference, actions and quotas.
 */
import { readFile } from "node:fs/promises";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  SQSClient,
  SQSServiceException,
  type QueueAttributeName,
} from "@aws-sdk/client-sqs";
import {
  relayConnectMsMax,
  relayPublishMsMax,
  sqsMessageBytesMax,
  sqsMessageBytesMin,
  sqsRetentionSeconds,
  sqsVisibilitySeconds,
} from "../../limits.ts";
import { failRelay, RelayFault, type RelayError } from "../destination.ts";
import type { SqsGroups } from "./group.ts";

export type SqsAddress = {
  /** Name, which ends in `.fifo`. */
  readonly queue: string;
  readonly region: string;
  /** "" for the region's own. */
  readonly endpoint: string;
  /** Account that has it; "" for the caller's own. */
  readonly owner: string;
  /** PEM file of the authorities of its certificate, read at each opening; the system's without one. */
  readonly ca?: string;
};

export type SqsQueue = Disposable & {
  readonly client: SQSClient;
  readonly url: string;
  /** Of one message. */
  readonly messageBytesMax: number;
  /** How long a received message is nobody else's. */
  readonly visibilityMs: number;
  /** What was received more often is moved to the queue of this ARN. */
  readonly redrive: { readonly target: string; readonly receivesMax: number } | undefined;
};

/** Throttling in every spelling: of the service, of its keys, of the signature layer. */
const isThrottling = (code: string): boolean => /Throttl|OverLimit|TooManyRequests|SlowDown/.test(code);

/** Of a request or of one entry of a batch. */
export const isContents = (code: string, rule: string): boolean =>
  /^(?:InvalidMessageContents|InvalidParameterValue|BatchRequestTooLong|MessageTooLong)$/.test(code) ||
  /MessageTooLong|InvalidMessageContents/.test(rule);

export const isContentsFault = (cause: unknown): boolean =>
  cause instanceof SQSServiceException && isContents(cause.name, cause.message);

/** @param isClient whether the request is at fault. */
export const kindOf = (code: string, isClient: boolean): "retryable" | "refused" =>
  isClient && !isThrottling(code) ? "refused" : "retryable";

const sentence = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "unknown error";
  return cause.name === "AbortError" ? "timed out" : cause.message;
};

export const sqsError = (cause: unknown, what: string): RelayError => {
  if (cause instanceof RelayFault) return cause.error;
  const rule = `${what}: ${sentence(cause)}`;
  if (cause instanceof SQSServiceException) {
    const { name, $metadata } = cause;
    const status = $metadata.httpStatusCode ?? 500;
    return {
      kind: kindOf(name, status >= 400 && status < 500),
      rule: `${what}: ${name}: ${cause.message}`,
    };
  }
  const isCredentials = cause instanceof Error && /^(?:Credentials|Token)ProviderError$/.test(cause.name);
  return { kind: isCredentials ? "refused" : "retryable", rule };
};

/** Layout of a queue that the relay makes. With a group for each id throughput is that of a group, not of the queue. */
const layoutFor = (groups: SqsGroups) =>
  ({
    FifoQueue: "true",
    ContentBasedDeduplication: "false",
    DeduplicationScope: groups === "record" ? "messageGroup" : "queue",
    FifoThroughputLimit: groups === "record" ? "perMessageGroupId" : "perQueue",
    MaximumMessageSize: String(sqsMessageBytesMax),
    MessageRetentionPeriod: String(sqsRetentionSeconds),
    VisibilityTimeout: String(sqsVisibilitySeconds),
  }) satisfies Partial<Record<QueueAttributeName, string>>;

/** Ends a request that nobody waits for any more, or that takes too long. */
export const sqsTimeout = (signal: AbortSignal, waitMs = 0): { readonly abortSignal: AbortSignal } => ({
  abortSignal: AbortSignal.any([signal, AbortSignal.timeout(relayPublishMsMax + waitMs)]),
});

const findUrl = async (
  client: SQSClient,
  { queue, owner }: SqsAddress,
  onMissing: SqsGroups | "fail",
  signal: AbortSignal,
): Promise<string> => {
  try {
    const account = owner === "" ? {} : { QueueOwnerAWSAccountId: owner };
    const command = new GetQueueUrlCommand({ QueueName: queue, ...account });
    const { QueueUrl } = await client.send(command, sqsTimeout(signal));
    if (QueueUrl !== undefined) return QueueUrl;
  } catch (cause) {
    const isMissing =
      cause instanceof SQSServiceException && /NonExistentQueue|QueueDoesNotExist/.test(cause.name);
    if (!isMissing) throw cause;
  }
  if (onMissing === "fail") return failRelay({ kind: "refused", rule: `there is no queue ${queue}` });
  const { QueueUrl } = await client.send(
    new CreateQueueCommand({ QueueName: queue, Attributes: layoutFor(onMissing) }),
    sqsTimeout(signal),
  );
  return QueueUrl ?? failRelay({ kind: "retryable", rule: `the queue ${queue} was made without an address` });
};

const redriveOf = (policy: string | undefined): SqsQueue["redrive"] => {
  if (policy === undefined || policy === "") return undefined;
  const target = /"deadLetterTargetArn"\s*:\s*"([^"]+)"/.exec(policy)?.[1] ?? "another queue";
  return { target, receivesMax: Number(/"maxReceiveCount"\s*:\s*"?(\d+)/.exec(policy)?.[1] ?? 1) };
};

const describe = (
  queue: string,
  attributes: Readonly<Record<string, string>>,
): Pick<SqsQueue, "messageBytesMax" | "visibilityMs" | "redrive"> => {
  if (attributes["FifoQueue"] !== "true") {
    const rule = `the queue ${queue} must be a FIFO queue: another one keeps no order`;
    failRelay({ kind: "refused", rule });
  }
  return {
    // A server that does not say takes what each one took.
    messageBytesMax: Number(attributes["MaximumMessageSize"] ?? sqsMessageBytesMin),
    visibilityMs: Number(attributes["VisibilityTimeout"] ?? 30) * 1000,
    redrive: redriveOf(attributes["RedrivePolicy"]),
  };
};

const readAuthorities = async (path: string): Promise<Buffer> => {
  try {
    return await readFile(path);
  } catch (cause) {
    return failRelay({ kind: "refused", rule: `cannot read the authorities in ${path}` }, { cause });
  }
};

/** @param onMissing for which groups it is made. @throws RelayFault. */
export const openSqsQueue = async (
  address: SqsAddress,
  onMissing: SqsGroups | "fail",
  signal: AbortSignal,
): Promise<SqsQueue> => {
  const { queue, region, endpoint, ca } = address;
  const httpsAgent = ca === undefined ? {} : { ca: await readAuthorities(ca) };
  const client = new SQSClient({
    region,
    ...(endpoint === "" ? {} : { endpoint }),
    // A queue's address is what its server says of itself, behind a proxy another machine.
    useQueueUrlAsEndpoint: false,
    // Backoff is the relay's.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: relayConnectMsMax, httpsAgent },
  });
  try {
    const url = await findUrl(client, address, onMissing, signal);
    const { Attributes = {} } = await client.send(
      new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] }),
      sqsTimeout(signal),
    );
    return { client, url, ...describe(queue, Attributes), [Symbol.dispose]: () => client.destroy() };
  } catch (cause) {
    client.destroy();
    const where = endpoint === "" ? region : endpoint;
    return failRelay(sqsError(cause, `cannot use the queue ${queue} at ${where}`), { cause });
  }
};
