/**
 * A NATS JetStream stream as a destination. CloudEvents in binary mode (`ce-…` headers), in atomic batches with the
 * expected last sequence: a batch is stored once, and only if no other publisher wrote in between.
 * Source: NATS ADR-50 (batches), ADR-31 (reading by sequence); the CloudEvents binding for NATS, binary mode.
 */
import { readFile } from "node:fs/promises";
import {
  JetStreamApiError,
  jetstreamManager,
  type JetStreamManager,
  type LastForMsgRequest,
  type StoredMsg,
  type StreamConfig,
} from "@nats-io/jetstream";
import {
  AuthorizationError,
  connect,
  credsAuthenticator,
  headers,
  PermissionViolationError,
  TimeoutError,
  UserAuthenticationExpiredError,
  type Authenticator,
  type MsgHdrs,
  type NatsConnection,
} from "@nats-io/transport-node";
import { relayConnectMsMax, relayNatsBatchEventsMax, relayPublishMsMax } from "../limits.ts";
import {
  failRelay,
  isCertificateCode,
  RelayFault,
  type Destination,
  type Erased,
  type Erasure,
  type Holding,
  type OpenDestination,
  type RelayError,
} from "./destination.ts";
import { headersOf, readEvent, type RelayEvent } from "./event.ts";
import { subjectOf, subjectsOf } from "./nats-subject.ts";

export type NatsOptions = {
  /** `nats://host:port` or `tls://host:port`. */
  readonly servers: readonly string[];
  readonly stream: string;
  /** Prefix of subjects. */
  readonly subjectPrefix: string;
  /** Replicas of the stream if the relay creates it. */
  readonly replicas: number;
  /** Secret files, read at each connection. */
  readonly credentials:
    | { readonly kind: "none" }
    | { readonly kind: "creds"; readonly path: string }
    | { readonly kind: "token"; readonly path: string }
    | { readonly kind: "password"; readonly user: string; readonly path: string };
  /** PEM files, empty for none; null means system CAs for `tls://` and no TLS for `nats://`. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | null;
  /** Fault injection for tests: awaited between steps. */
  readonly onStep?: (step: NatsStep) => Promise<void>;
};

export type NatsStep =
  | "connected"
  | "stream found"
  | "half sent"
  | "committing"
  | "acknowledged"
  | "deleting"
  | "deleted"
  | "purging"
  | "purged";

/** Reserved in each message for the headers of the batch protocol. */
const headersBytesKept = 512;
const apiCode = {
  noMessage: 10_037,
  streamNotFound: 10_059,
  wrongLastSequence: 10_071,
  incompleteBatch: 10_176,
} as const;
/** All that NATS says of a disk that is full. */
const noRoom = "as when there is no room left on its disk";
/** Last sequence of an empty stream. */
const noSequence = 0;
const outOfReach = [
  "what consumers took from the stream, its mirrors, sources and backups",
  "logs of replicas, until NATS compacts them",
];

type Acknowledgement = {
  readonly seq?: number;
  readonly error?: { readonly err_code?: number; readonly description?: string };
};

const readAt = async (path: string, what: string): Promise<string> => {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    return failRelay({ kind: "refused", rule: `cannot read ${what}${path}` }, { cause });
  }
};

const readSecret = async (path: string): Promise<string> => (await readAt(path, "the secret in ")).trim();

type Login = {
  readonly authenticator?: Authenticator;
  readonly token?: string;
  readonly user?: string;
  readonly pass?: string;
};

/** The client parses the file when it connects, and reports what is none as if the server were down. */
const requireParsed = (authenticator: Authenticator, path: string): void => {
  try {
    authenticator("");
  } catch {
    // Without a cause, which may quote the file.
    failRelay({ kind: "refused", rule: `there are no credentials of NATS in ${path}` });
  }
};

const loginOf = async ({ credentials }: NatsOptions): Promise<Login> => {
  switch (credentials.kind) {
    case "none":
      return {};
    case "creds": {
      // The client finds no seed in a file whose last line does not end.
      const text = `${await readSecret(credentials.path)}\n`;
      const authenticator = credsAuthenticator(new TextEncoder().encode(text));
      requireParsed(authenticator, credentials.path);
      return { authenticator };
    }
    case "token":
      return { token: await readSecret(credentials.path) };
    case "password":
      return { user: credentials.user, pass: await readSecret(credentials.path) };
  }
};

const tlsOf = async ({ tls, servers }: NatsOptions) => {
  if (tls === null) return servers.some((server) => server.startsWith("tls://")) ? { tls: {} } : {};
  const { ca, cert, key } = tls;
  const files = {
    ...(ca === "" ? {} : { ca: await readAt(ca, "") }),
    ...(cert === "" ? {} : { cert: await readAt(cert, ""), key: await readAt(key, "") }),
  };
  return { tls: files };
};

const sentence = (cause: unknown): string => (cause instanceof Error ? cause.message : "unknown error");

/** JetStream codes that an operator must resolve: not enabled, invalid configuration, overlapping subjects. */
const isSetting = (code: number): boolean => code === 10_039 || code === 10_052 || code === 10_065;

/** An error and what it wraps. */
const chainOf = (cause: unknown): readonly Error[] =>
  cause instanceof Error ? [cause, ...chainOf(cause.cause)] : [];

const isRefusal = (cause: Error): boolean =>
  cause instanceof AuthorizationError ||
  cause instanceof UserAuthenticationExpiredError ||
  cause instanceof PermissionViolationError ||
  (cause instanceof JetStreamApiError && isSetting(cause.code));

const asError = (cause: unknown, what: string): RelayError => {
  if (cause instanceof RelayFault) return cause.error;
  const chain = chainOf(cause);
  const certificate = chain
    .map((error) => ("code" in error ? String(error.code) : ""))
    .find((code) => isCertificateCode(code));
  if (certificate !== undefined) return { kind: "refused", rule: `${what}: TLS: ${certificate}` };
  return { kind: chain.some(isRefusal) ? "refused" : "retryable", rule: `${what}: ${sentence(cause)}` };
};

const wanted = ({ stream, subjectPrefix, replicas }: NatsOptions) => ({
  name: stream,
  subjects: [`${subjectPrefix}.>`],
  storage: "file" as const,
  num_replicas: replicas,
  allow_atomic: true,
  allow_direct: true,
});

/** Checks the settings of an existing stream. @returns undefined if it is suitable. */
const faultOf = (config: StreamConfig, { subjectPrefix }: NatsOptions): string | undefined => {
  if (config.storage !== "file") return "must have file storage";
  if (config.allow_atomic !== true) return "must allow atomic batches (allow_atomic)";
  if (!config.subjects?.includes(`${subjectPrefix}.>`)) return `must have the subject ${subjectPrefix}.>`;
  if (config.no_ack === true) return "must acknowledge (no_ack)";
  if (config.sealed) return "is sealed";
  return undefined;
};

/** Creates the stream if missing. @throws RelayFault if an existing one is unsuitable. */
const findStream = async (manager: JetStreamManager, options: NatsOptions) => {
  const info = await manager.streams.info(options.stream).catch((cause: unknown) => {
    if (cause instanceof JetStreamApiError && cause.code === apiCode.streamNotFound)
      return manager.streams.add(wanted(options));
    throw cause;
  });
  const fault = faultOf(info.config, options);
  if (fault !== undefined) failRelay({ kind: "refused", rule: `the stream ${options.stream} ${fault}` });
  return info;
};

const attributesOf = (header: MsgHdrs): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    header.keys().map((name) => [name.toLowerCase().replace(/^ce-/, ""), header.get(name)] as const),
  );

/** The newest of some subjects, or the first of them from a sequence on. */
type MessageQuery = LastForMsgRequest | { readonly seq: number; readonly next_by_subj: string };

/** @throws RelayFault refused if no relay wrote it. */
const generationOf = ({ header, seq }: StoredMsg): number => {
  const rule = `message ${seq} of the stream is no relay's: something else publishes there`;
  return (readEvent(attributesOf(header)) ?? failRelay({ kind: "refused", rule })).generation;
};

const headerOf = (event: RelayEvent): MsgHdrs => {
  const header = headers();
  // The names differ.
  for (const [name, value] of headersOf(event)) header.append(name, value);
  return header;
};

class OpenStream implements OpenDestination {
  readonly limits: OpenDestination["limits"];
  readonly #options: NatsOptions;
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #prepared = new WeakMap<RelayEvent, MsgHdrs>();
  /** Last sequence of the stream. */
  #sequence = noSequence;
  #batch = 0;

  constructor(
    options: NatsOptions,
    connection: NatsConnection,
    manager: JetStreamManager,
    messageBytesMax: number,
  ) {
    this.#options = options;
    this.#connection = connection;
    this.#manager = manager;
    this.limits = {
      messageBytesMax: messageBytesMax - headersBytesKept,
      batchEventsMax: relayNatsBatchEventsMax,
      batchBytesMax: messageBytesMax,
    };
  }

  async lastPublished(): Promise<Holding> {
    const { stream } = this.#options;
    try {
      const { state } = await this.#manager.streams.info(stream);
      this.#sequence = state.last_seq;
      if (state.last_seq === noSequence) return { kind: "empty" };
      // Removed by retention limits, or acknowledged by consumers of a work queue.
      const message = await this.#manager.streams
        .getMessage(stream, { seq: state.last_seq })
        .catch(noneFound);
      if (message === null) return { kind: "unknown" };
      const last = readEvent(attributesOf(message.header));
      if (last !== undefined) return { kind: "at", last };
    } catch (cause) {
      return failRelay(asError(cause, `cannot read the stream ${stream}`), { cause });
    }
    const rule = `the last message of the stream ${stream} is no relay's: something else publishes there`;
    return failRelay({ kind: "refused", rule });
  }

  prepare(events: readonly RelayEvent[]): void {
    for (const event of events) this.#prepared.set(event, headerOf(event));
  }

  async publish(events: readonly RelayEvent[], signal: AbortSignal): Promise<void> {
    try {
      await this.#publish(events, signal);
    } catch (cause) {
      const { stream } = this.#options;
      const silence = `the stream ${stream} acknowledged nothing for ${relayPublishMsMax / 1000} s, ${noRoom}`;
      failRelay(
        cause instanceof TimeoutError
          ? { kind: "retryable", rule: silence }
          : asError(cause, "cannot publish"),
        { cause },
      );
    }
  }

  /** A message cannot be changed, and a deleted one leaves a gap in the links: only older generations are touched. */
  async erase(erasure: Erasure, signal: AbortSignal): Promise<Erased> {
    const { stream, subjectPrefix } = this.#options;
    const subjects = subjectsOf(subjectPrefix, erasure.tenant);
    try {
      const found = await this.#count(subjects);
      if (erasure.action === "purge old") await this.#purgeOld(subjects, erasure, signal);
      const left = erasure.action === "purge old" ? await this.#count(subjects) : found;
      const newest = await this.#find({ last_by_subj: subjects });
      return {
        isInPlace: false,
        found,
        left,
        newestGeneration: newest === null ? undefined : generationOf(newest),
        outOfReach,
      };
    } catch (cause) {
      return failRelay(asError(cause, `cannot erase in the stream ${stream}`), { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }

  async #count(subjects: string): Promise<number> {
    const { state } = await this.#manager.streams.info(this.#options.stream, { subjects_filter: subjects });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  }

  #find(query: MessageQuery): Promise<StoredMsg | null> {
    return this.#manager.streams.getMessage(this.#options.stream, query).catch(noneFound);
  }

  /**
   * First overwrites the tenant's messages on the disk, which a purge does not; then removes the older generations. A
   * crash between leaves an older generation with gaps, which the next call removes.
   */
  async #purgeOld(subjects: string, { generation, onProgress }: Erasure, signal: AbortSignal): Promise<void> {
    const { stream } = this.#options;
    const { streams } = this.#manager;
    let [next, deleted] = [1, 0];
    for (;;) {
      signal.throwIfAborted();
      const message = await this.#find({ seq: next, next_by_subj: subjects });
      if (message === null || generationOf(message) >= generation) break;
      await this.#step("deleting");
      await streams.deleteMessage(stream, message.seq, true);
      await this.#step("deleted");
      [next, deleted] = [message.seq + 1, deleted + 1];
      onProgress(`${deleted} messages overwritten`);
    }
    const first = await this.#firstOf(generation);
    await this.#step("purging");
    await streams.purge(stream, { seq: first });
    await this.#step("purged");
  }

  /** Binary search: generations rise with the sequence. @returns one past the last sequence if there is none. */
  async #firstOf(generation: number): Promise<number> {
    const { state } = await this.#manager.streams.info(this.#options.stream);
    const all = `${this.#options.subjectPrefix}.>`;
    let [low, high] = [state.first_seq, state.last_seq + 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.#find({ seq: middle, next_by_subj: all });
      if (message === null || generationOf(message) >= generation) high = middle;
      else low = message.seq + 1;
    }
    return low;
  }

  /** Used once: what is added to it is of one try. */
  #takeHeader(event: RelayEvent): MsgHdrs {
    const header = this.#prepared.get(event) ?? headerOf(event);
    this.#prepared.delete(event);
    return header;
  }

  /** A single message is published plainly; several as one atomic batch, acknowledged with its last message. */
  async #publish(events: readonly RelayEvent[], signal: AbortSignal): Promise<void> {
    this.#batch += 1;
    const batch = `${this.#connection.info?.client_id ?? 0}-${Date.now().toString(36)}-${this.#batch}`;
    const half = events.length >> 1;
    for (const [index, event] of events.entries()) {
      const header = this.#takeHeader(event);
      if (index === 0) header.set("Nats-Expected-Last-Sequence", String(this.#sequence));
      if (events.length > 1) {
        header.set("Nats-Batch-Id", batch);
        header.set("Nats-Batch-Sequence", String(index + 1));
      }
      const [subject, data] = [subjectOf(this.#options.subjectPrefix, event), event.data?.bytes];
      if (index < events.length - 1) {
        this.#connection.publish(subject, data, { headers: header });
        if (index === half) await this.#step("half sent");
        continue;
      }
      if (events.length > 1) header.set("Nats-Batch-Commit", "1");
      await this.#step("committing");
      signal.throwIfAborted();
      const answer = await this.#connection.request(subject, data, {
        headers: header,
        timeout: relayPublishMsMax,
      });
      await this.#step("acknowledged");
      this.#settle(answer.json<Acknowledgement>(), events.length);
    }
  }

  #settle({ seq, error }: Acknowledgement, count: number): void {
    const { stream } = this.#options;
    if (error !== undefined) {
      const isOthers = error.err_code === apiCode.wrongLastSequence;
      const why = error.description ?? "no reason given";
      const more = error.err_code === apiCode.incompleteBatch ? `, ${noRoom}` : "";
      const rule = isOthers
        ? `the stream ${stream} no longer ends where it did: it is read again`
        : `the stream ${stream} did not take a batch: ${why}${more}`;
      failRelay({ kind: isSetting(error.err_code ?? 0) ? "refused" : "retryable", rule });
    }
    if (seq !== this.#sequence + count) {
      failRelay({
        kind: "retryable",
        rule: `the stream ${stream} acknowledged another place than was expected`,
      });
    }
    this.#sequence += count;
  }

  async #step(step: NatsStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

const noneFound = (cause: unknown): null => {
  if (cause instanceof JetStreamApiError && cause.code === apiCode.noMessage) return null;
  throw cause;
};

const openStream = async (options: NatsOptions): Promise<OpenStream> => {
  const connection = await connect({
    servers: [...options.servers],
    name: "sigil relay",
    timeout: relayConnectMsMax,
    // The relay reopens the destination itself, and reads its contents then.
    reconnect: false,
    ...(await loginOf(options)),
    ...(await tlsOf(options)),
  });
  try {
    await options.onStep?.("connected");
    const manager = await jetstreamManager(connection, { timeout: relayPublishMsMax });
    const { config } = await findStream(manager, options);
    await options.onStep?.("stream found");
    const payloadMax = connection.info?.max_payload ?? 1 << 20;
    const messageMax = config.max_msg_size > 0 ? Math.min(config.max_msg_size, payloadMax) : payloadMax;
    return new OpenStream(options, connection, manager, messageMax);
  } catch (error) {
    await connection.close();
    throw error;
  }
};

export const natsDestination = (options: NatsOptions): Destination => ({
  describe: () => `NATS stream ${options.stream} at ${options.servers.join(", ")}`,
  open: async () => {
    try {
      return await openStream(options);
    } catch (cause) {
      return failRelay(asError(cause, `cannot use ${options.servers.join(", ")}`), { cause });
    }
  },
});
