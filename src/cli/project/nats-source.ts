/**
 * A JetStream stream that a relay fills as a source: CloudEvents in binary mode. Read by an ordered consumer, which
 * leaves nothing on the server and starts again by itself where it lost the connection.
 */
import { readFile } from "node:fs/promises";
import { DeliverPolicy, jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { natsPullMs, relayConnectMsMax } from "../../limits.ts";
import type { LaneCursor, LaneMessage, LaneSource } from "../../projections/message.ts";
import { usage } from "../terminal/command.ts";
import { readMessage } from "./event-message.ts";

const lane = "nats";

export type NatsAddress = {
  /** `nats://host:port` or `tls://host:port`. */
  readonly server: string;
  readonly stream: string;
  /** Of a credentials file. */
  readonly credentialsPath: string | undefined;
};

const attributesOf = (header: MsgHdrs | undefined): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    (header?.keys() ?? []).map(
      (name) => [name.toLowerCase().replace(/^ce-/, ""), header?.get(name)] as const,
    ),
  );

const where = (stream: string, sequence: number): string => `${stream}, sequence ${sequence}`;

type Stored = { readonly seq: number; readonly header?: MsgHdrs; readonly data: Uint8Array };

const parse = (stream: string, { seq, header, data }: Stored): LaneMessage =>
  readMessage(lane, attributesOf(header), data.length === 0 ? undefined : data, where(stream, seq));

const stored = async (
  manager: JetStreamManager,
  stream: string,
  seq: number,
): Promise<LaneMessage | undefined> => {
  const found = seq < 1 ? null : await manager.streams.getMessage(stream, { seq });
  return found === null ? undefined : parse(stream, found);
};

/** Within a generation sequences and positions go side by side; anywhere else it is read from the beginning. */
const startAfter = async (
  manager: JetStreamManager,
  stream: string,
  cursor: LaneCursor | undefined,
): Promise<number> => {
  const { state } = await manager.streams.info(stream);
  const last = await stored(manager, stream, state.last_seq);
  if (cursor === undefined || last === undefined) return state.first_seq;
  const taken = state.last_seq - Number(last.position - cursor.position);
  const same = await stored(manager, stream, taken);
  return same?.position === cursor.position ? taken + 1 : state.first_seq;
};

const sizeOf = async (manager: JetStreamManager, stream: string): Promise<bigint> => {
  const { state } = await manager.streams.info(stream);
  const last = await stored(manager, stream, state.last_seq);
  return last === undefined ? 0n : last.position + 1n;
};

export type OpenedStream = AsyncDisposable & {
  readonly source: LaneSource;
  /** One past the newest position now. */
  readonly size: () => Promise<bigint>;
};

const open = async ({ server, credentialsPath }: NatsAddress): Promise<NatsConnection> => {
  const credentials =
    credentialsPath === undefined
      ? undefined
      : await readFile(credentialsPath).catch(() => usage(`--nats-creds: ${credentialsPath} cannot be read`));
  return connect({
    servers: [server],
    name: "sigil project",
    timeout: relayConnectMsMax,
    maxReconnectAttempts: -1,
    ...(credentials === undefined ? {} : { authenticator: credsAuthenticator(credentials) }),
    ...(server.startsWith("tls://") ? { tls: {} } : {}),
  });
};

/** @throws usage for a server or a stream that cannot be read. */
export const openNatsStream = async (address: NatsAddress): Promise<OpenedStream> => {
  const { server, stream } = address;
  const refuse = (cause: unknown): never =>
    usage(
      `--from: ${server}/${stream} cannot be read: ${cause instanceof Error ? cause.message : "unknown"}`,
    );
  const connection = await open(address).catch(refuse);
  const close = (): Promise<void> => connection.close();
  try {
    const manager = await jetstreamManager(connection);
    await manager.streams.info(stream).catch(refuse);
    return {
      size: () => sizeOf(manager, stream).catch(refuse),
      source: {
        after: async function* (lanes, { signal }) {
          const from = await startAfter(manager, stream, lanes.get(lane));
          const consumer = await jetstream(connection).consumers.get(stream, {
            deliver_policy: DeliverPolicy.StartSequence,
            opt_start_seq: Math.max(1, from),
          });
          if (signal.aborted) return;
          const messages = await consumer.consume({ expires: natsPullMs });
          const stop = (): void => messages.stop();
          signal.addEventListener("abort", stop, { once: true });
          // It may have aborted while the consumer began.
          if (signal.aborted) stop();
          try {
            for await (const { seq, headers, data } of messages) {
              const header = headers === undefined ? {} : { header: headers };
              yield { messages: [parse(stream, { seq, data, ...header })] };
            }
          } finally {
            signal.removeEventListener("abort", stop);
            stop();
          }
        },
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};
