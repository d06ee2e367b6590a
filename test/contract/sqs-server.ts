/**
 * ElasticMQ for tests: the jars that scripts/services.sh installs, with SQS's strict limits, on a free port of
 * 127.0.0.1 and with queues and messages in files of a temporary directory. It can be killed and suspended, and started
 * again at the same place with its data or without.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  SQSClient,
  type Message,
} from "@aws-sdk/client-sqs";
import { repository } from "../../scripts/run.ts";
import { freePort } from "./free-port.ts";
import type { SeenMessage } from "./relay-world.ts";

const jars = join(repository, "build/elasticmq");
const isThere = existsSync(jars) && spawnSync("java", ["-version"]).status === 0;

/** Why there is none here, for the title of a test. */
export const sqsMissing: string | undefined = isThere
  ? undefined
  : "skipped: no ElasticMQ: scripts/services.sh install sqs";

export type SqsServer = AsyncDisposable & {
  readonly url: string;
  /** As by a power failure. */
  readonly kill: () => Promise<void>;
  /** Suspended: it takes connections and answers nothing. */
  readonly suspend: () => void;
  readonly wake: () => void;
  readonly start: () => Promise<void>;
  /** Of a server that does not run: it never had any. */
  readonly removeData: () => Promise<void>;
};

/** A virtual machine on a busy computer. */
const startMsMax = 90_000;

/** ElasticMQ takes every key; the chain of the SDK needs one. */
const setCredentials = (): void => {
  process.env["AWS_ACCESS_KEY_ID"] ??= "test";
  process.env["AWS_SECRET_ACCESS_KEY"] ??= "test";
};

export const sqsRegion = "elasticmq";

/** @param store directory of queues and messages, if not a temporary one. */
export const startSqs = async ({ store }: { readonly store?: string } = {}): Promise<SqsServer> => {
  setCredentials();
  const directory = await mkdtemp(join(tmpdir(), "sigil-sqs-"));
  const [configPath, data] = [join(directory, "elasticmq.conf"), store ?? join(directory, "data")];
  const port = await freePort();
  const lines = [
    'include classpath("application.conf")',
    `node-address { host = "127.0.0.1", port = ${port} }`,
    `rest-sqs { bind-port = ${port}, bind-hostname = "127.0.0.1", sqs-limits = strict }`,
    "rest-stats.enabled = false",
    // What was acknowledged is in the file.
    `messages-storage { enabled = true, uri = "jdbc:h2:${join(data, "messages")};WRITE_DELAY=0" }`,
  ];
  await writeFile(configPath, lines.join("\n"));
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    await mkdir(data, { recursive: true });
    let log = "";
    const words = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", `-Dconfig.file=${configPath}`];
    const started = spawn("java", [...words, "-cp", join(jars, "*"), "org.elasticmq.server.Main"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    child = started;
    started.stdout.on("data", (part: Buffer) => {
      if (log.length < 1e6) log += part.toString();
    });
    for (let waitedMs = 0; waitedMs < startMsMax; waitedMs += 50) {
      if (started.exitCode !== null) throw new Error(`ElasticMQ ended:\n${log}`);
      if (/ElasticMQ server .* started in/.test(log)) return;
      await delay(50);
    }
    throw new Error(`ElasticMQ does not start:\n${log}`);
  };
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    kill,
    suspend: () => void child?.kill("SIGSTOP"),
    wake: () => void child?.kill("SIGCONT"),
    start,
    removeData: () => rm(data, { recursive: true }),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

export const sqsClient = (endpoint: string): SQSClient =>
  new SQSClient({ region: sqsRegion, endpoint, useQueueUrlAsEndpoint: false });

export const queueUrl = (endpoint: string, queue: string): string => `${endpoint}/000000000000/${queue}`;

/** A FIFO queue. */
export const createQueue = async (
  endpoint: string,
  queue: string,
  attributes: Readonly<Record<string, string>> = {},
): Promise<void> => {
  const client = sqsClient(endpoint);
  await client.send(
    new CreateQueueCommand({ QueueName: queue, Attributes: { FifoQueue: "true", ...attributes } }),
  );
  client.destroy();
};

const parse = ({ Body = "", Attributes }: Message): SeenMessage => ({
  ...(JSON.parse(Body) as SeenMessage),
  sqsGroup: Attributes?.MessageGroupId,
  sqsDeduplication: Attributes?.MessageDeduplicationId,
});

/** Takes everything out of a queue, as a consumer does. */
export const drainQueue = async (endpoint: string, queue: string): Promise<readonly SeenMessage[]> => {
  const [client, QueueUrl] = [sqsClient(endpoint), queueUrl(endpoint, queue)];
  const taken: SeenMessage[] = [];
  try {
    for (;;) {
      const { Messages = [] } = await client.send(
        new ReceiveMessageCommand({
          QueueUrl,
          MaxNumberOfMessages: 10,
          MessageSystemAttributeNames: ["All"],
        }),
      );
      if (Messages.length === 0) return taken;
      taken.push(...Messages.map(parse));
      const Entries = Messages.map(({ ReceiptHandle }, at) => ({ Id: String(at), ReceiptHandle }));
      await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    }
  } finally {
    client.destroy();
  }
};
