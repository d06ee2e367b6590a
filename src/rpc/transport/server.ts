/**
 * The gRPC server: explicit limits, TLS, health, reflection, and graceful shutdown. Limits per connection:
 * `concurrentStreamsMax` streams, `sessionMemoryMiBMax`, `headerBytesMax` of headers per call, `messageBytesMax` per
 * message in each direction. grpc-js accepts gzip and deflate and applies the limit to the decompressed size.
 */
import type { ServerOptions as Http2Options } from "node:http2";
import type { Server as NetServer, Socket } from "node:net";
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { assert } from "../../errors.ts";
import { headerBytesMax, headerPairsMax } from "../../limits.ts";
import { formatAddress, isUnix, type Address } from "../../config/address.ts";
import { strictService } from "../call/decode.ts";
import type { Health } from "./health.ts";
import type { Connections } from "../bounds/connections.ts";
import { assertInstalledInsides, muteUnknownMethods } from "../bounds/insides.ts";
import type { Intake } from "../bounds/intake.ts";
import { failListening, openSocketFile } from "./listening.ts";
import { watchRawHeaders } from "../bounds/raw-headers.ts";
import { addReflection } from "./reflection.ts";
import type { TlsRenewal } from "./tls-renewal.ts";
import type { Pacing } from "../call/pacing.ts";
import type { CallsUnderWay } from "../call/underway.ts";

export type TransportLimits = {
  readonly messageBytesMax: number;
  readonly concurrentStreamsMax: number;
  readonly sessionMemoryMiBMax: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly connectionAgeMs: number;
  readonly connectionAgeGraceMs: number;
};

export type RpcServerOptions = {
  readonly address: Address;
  /** File mode, if the address is a Unix socket. */
  readonly socketMode: number;
  readonly tls: Pick<TlsRenewal, "credentials" | "watch"> | null;
  readonly limits: TransportLimits;
  readonly reflection: boolean;
  readonly health: Health;
  readonly intake: Intake;
  readonly connections: Connections;
  readonly pacing: Pacing;
  readonly services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[];
  readonly underWay: CallsUnderWay;
  readonly drainMs: number;
};

export type RpcServer = {
  readonly address: Address;
  /** Idempotent. Stops accepting, lets calls finish for `drainMs`, then cancels the rest. */
  readonly close: () => Promise<void>;
};

const channelOptions = (limits: TransportLimits, intake: Intake) => ({
  "grpc.max_receive_message_length": limits.messageBytesMax,
  "grpc.max_send_message_length": limits.messageBytesMax,
  "grpc.max_concurrent_streams": limits.concurrentStreamsMax,
  "grpc-node.max_session_memory": limits.sessionMemoryMiBMax,
  "grpc.keepalive_time_ms": limits.keepaliveMs,
  "grpc.keepalive_timeout_ms": limits.keepaliveTimeoutMs,
  "grpc.max_connection_age_ms": limits.connectionAgeMs,
  "grpc.max_connection_age_grace_ms": limits.connectionAgeGraceMs,
  // Its counters cost time on every call, and the metrics port has better ones.
  "grpc.enable_channelz": 0,
  interceptors: [intake.interceptor],
});

/** Limits header size through the options that grpc-js passes to node:http2, since it has no option of its own. */
const limitHeaders = (server: object): void => {
  const { commonServerOptions: options }: { readonly commonServerOptions?: Http2Options } = server;
  assert(options?.settings !== undefined, "grpc-js keeps its HTTP/2 options elsewhere");
  options.settings = { ...options.settings, maxHeaderListSize: headerBytesMax };
  options.maxHeaderListPairs = headerPairsMax;
};

const bind = (server: Server, address: Address, tls: RpcServerOptions["tls"]): Promise<number> => {
  const credentials = tls === null ? ServerCredentials.createInsecure() : tls.credentials;
  return new Promise((resolve, reject) => {
    server.bindAsync(formatAddress(address), credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
};

/**
 * Tracks a server's sockets, to destroy them at shutdown: a destroyed session waits for its peer to close, and a peer
 * that does not read would keep the process alive.
 */
const watchSockets = (
  server: object,
  { tls, connections }: Pick<RpcServerOptions, "tls" | "connections">,
): ReadonlySet<Socket> => {
  const { http2Servers }: { readonly http2Servers?: ReadonlyMap<NetServer, unknown> } = server;
  assert(http2Servers !== undefined, "grpc-js keeps its HTTP/2 servers elsewhere");
  const sockets = new Set<Socket>();
  for (const listener of http2Servers.keys()) {
    tls?.watch(listener);
    connections.watchHttp2(listener);
    listener.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
  }
  return sockets;
};

/** Delay that a stream of another service (a health watch) may add to a shutdown after the last call. */
const unanswerableMs = 250;

/** Resolves when `done` does, or after `delayMs`. */
export const within = async (delayMs: number, done: Promise<void>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([done, new Promise<void>((resolve) => (timer = setTimeout(resolve, delayMs)))]);
  clearTimeout(timer);
};

const stop = async (
  server: Server,
  sockets: ReadonlySet<Socket>,
  { underWay, drainMs, health, connections }: RpcServerOptions,
): Promise<void> => {
  health.set("notServing");
  const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  await within(drainMs, underWay.drain());
  // Lets the last replies be sent before connections are closed.
  if (underWay.count === 0) await within(Math.min(unanswerableMs, drainMs), closed);
  server.forceShutdown();
  // Gives replies in flight a last chance to be read.
  await within(Math.min(unanswerableMs, drainMs), closed);
  for (const socket of sockets) socket.destroy();
  connections.close();
};

export const startRpcServer = async (options: RpcServerOptions): Promise<RpcServer> => {
  assertInstalledInsides();
  const server = new Server(channelOptions(options.limits, options.intake));
  limitHeaders(server);
  muteUnknownMethods(server);
  watchRawHeaders(server);
  for (const [service, handlers] of options.services) server.addService(strictService(service), handlers);
  options.health.addTo(server);
  if (options.reflection) {
    addReflection(
      server,
      options.services.map(([service]) => service),
      options.pacing,
    );
  }
  let port: number;
  let sockets: ReadonlySet<Socket>;
  try {
    port = await bind(server, options.address, options.tls);
    sockets = watchSockets(server, options);
    await openSocketFile(options.address, options.socketMode);
  } catch (cause) {
    server.forceShutdown();
    return failListening("listen", options.address, cause);
  }
  let closing: Promise<void> | undefined;
  return {
    address: isUnix(options.address) ? options.address : { host: options.address.host, port },
    close: () => (closing ??= stop(server, sockets, options)),
  };
};
