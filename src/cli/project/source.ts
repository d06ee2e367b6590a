/** Where a projection reads from, by its address. */
import type { SigilConnection, SigilError } from "@sigil/client";
import type { ConsumerOptions } from "../../projections/consumer.ts";
import type { LaneSource } from "../../projections/message.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import { required, usage, wholeNumber, type Arguments, type Flags } from "../terminal/command.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { resolveReferences, type Resolve } from "./references.ts";
import { fileSize, fileSource } from "./file-source.ts";
import type { KafkaAddress } from "./kafka-source.ts";
import { openNatsStream } from "./nats-source.ts";
import { fetchRecord, serverSize, serverSource } from "./server-source.ts";
import { parseSqsAddress } from "./sqs-address.ts";

export type OpenedSource = {
  readonly source: LaneSource;
  /** How many places there are now; undefined where a source cannot tell. @throws usage, SigilError. */
  readonly size: () => Promise<bigint | undefined>;
  /** Of several, messages of one may come before those of another that stand before them in the ledger. */
  readonly lanes: ConsumerOptions["lanes"];
};

const grpcAddress = /^grpc:\/\/([^/]+)$/;

const { server: _, ...callerFlags } = connectionFlags;

export const sourceFlags = {
  from: {
    value: "SOURCE",
    about:
      "What is read: grpc://HOST:PORT, a server; file:DIRECTORY, nats://HOST:PORT/STREAM, kafka://HOST:PORT/TOPIC (kafkas:// with TLS) or sqs://REGION/QUEUE, what a relay fills.",
  },
  resolve: {
    value: "grpc://HOST:PORT",
    about: "A server of the ledger, asked for records that a relay published by reference.",
  },
  "sqs-endpoint": { value: "URL", about: "Of a server that speaks SQS; the region's own unless told." },
  "sqs-ca": { value: "FILE", about: "Authorities of its certificate; the system's if left out." },
  generation: { value: "N", about: "Of SQS: messages of older generations are deleted unread." },
  "nats-creds": { value: "FILE", about: "Credentials for NATS, as a relay's creds." },
  "kafka-user": { value: "USER", about: "SASL SCRAM-SHA-512 for Kafka, with --kafka-password." },
  "kafka-password": { value: "FILE", about: "Its password." },
  "kafka-ca": {
    value: "FILE",
    about: "Authorities of Kafka's certificates, for kafkas://; the system's if left out.",
  },
  ...callerFlags,
} as const satisfies Flags;

/** A connection to the server at a `grpc://` address, with the caller of the other flags. */
const withServer = async <T>(
  address: string,
  given: Arguments,
  terminal: Terminal,
  work: (connection: SigilConnection) => Promise<T>,
): Promise<T> => {
  const server = grpcAddress.exec(address)?.[1];
  if (server === undefined) return usage("--resolve must be grpc://HOST:PORT");
  const named = { ...given, text: (flag: string) => (flag === "server" ? server : given.text(flag)) };
  return withConnection(named, terminal, work);
};

const withResolver = <T>(
  given: Arguments,
  terminal: Terminal,
  work: (resolve: Resolve | undefined) => Promise<T>,
): Promise<T> => {
  const address = given.text("resolve");
  if (address === undefined) return work(undefined);
  return withServer(address, given, terminal, (connection) => work(fetchRecord(connection)));
};

/** The source is open while `work` is done. @throws usage, SigilError, what `work` throws. */
export const withSource = <T>(
  given: Arguments,
  terminal: Terminal,
  work: (opened: OpenedSource) => Promise<T>,
): Promise<T> =>
  withResolver(given, terminal, (resolve) =>
    withOpened(given, terminal, (opened) =>
      work({ ...opened, source: resolveReferences(opened.source, resolve) }),
    ),
  );

/** Several servers are separated by commas. */
const readKafkaAddress = (text: string, given: Arguments): KafkaAddress | undefined => {
  const [, scheme, servers, topic] = /^(kafkas?):\/\/([^/]+:\d+)\/([^/]+)$/.exec(text) ?? [];
  if (servers === undefined || topic === undefined) return undefined;
  const [user, passwordPath, ca] = ["kafka-user", "kafka-password", "kafka-ca"].map((flag) =>
    given.text(flag),
  );
  if ((user === undefined) !== (passwordPath === undefined))
    return usage("--kafka-user goes with --kafka-password");
  if (ca !== undefined && scheme === "kafka") return usage("--kafka-ca goes with kafkas://");
  const login =
    user === undefined || passwordPath === undefined
      ? ({ kind: "none" } as const)
      : ({ kind: "scram", mechanism: "SCRAM-SHA-512", user, passwordPath } as const);
  const tls = scheme === "kafka" ? null : { ca: ca ?? "", cert: "", key: "" };
  return { connection: { servers: servers.split(","), tls, login }, topic };
};

const withOpened = async <T>(
  given: Arguments,
  terminal: Terminal,
  work: (opened: OpenedSource) => Promise<T>,
): Promise<T> => {
  const text = required(given, "from", "SOURCE");
  const [, directory] = /^file:(?:\/\/)?(.+)$/.exec(text) ?? [];
  if (directory !== undefined) {
    return work({ source: fileSource(directory), size: () => fileSize(directory), lanes: "one" });
  }
  const [, natsServer, stream] = /^((?:nats|tls):\/\/[^/]+)\/([^/]+)$/.exec(text) ?? [];
  if (natsServer !== undefined && stream !== undefined) {
    const credentialsPath = given.text("nats-creds");
    await using opened = await openNatsStream({ server: natsServer, stream, credentialsPath });
    return await work({ ...opened, lanes: "one" });
  }
  const kafka = readKafkaAddress(text, given);
  // Clients are loaded only where they are used.
  if (kafka !== undefined) return work(await (await import("./kafka-source.ts")).openKafkaTopic(kafka));
  const queue = parseSqsAddress(text, given.text("sqs-endpoint") ?? "");
  if (queue !== undefined) {
    const { openSqsSource } = await import("./sqs-source.ts");
    const ca = given.text("sqs-ca");
    if (ca !== undefined && queue.endpoint.startsWith("http:"))
      return usage("--sqs-ca goes with an https:// endpoint");
    await using opened = await openSqsSource({
      ...queue,
      ...(ca === undefined ? {} : { ca }),
      generation: wholeNumber(given.text("generation") ?? "0", "generation", [0, 999_999_999]),
    });
    return await work({ source: opened.source, lanes: "keys", size: async () => undefined });
  }
  if (!grpcAddress.test(text))
    return usage(
      "--from must be grpc://HOST:PORT, file:DIRECTORY, nats://HOST:PORT/STREAM, kafka://HOST:PORT/TOPIC or sqs://REGION/QUEUE",
    );
  const onBreak = (error: SigilError): void =>
    terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`);
  return withServer(text, given, terminal, async (connection) =>
    work({ source: serverSource(connection, onBreak), size: () => serverSize(connection), lanes: "one" }),
  );
};
