/**
 * The HTTP port: HTTP/1.1, and over TLS HTTP/2 as well, by Node's own servers (docs/design/0020). Certificates,
 * connections and the end are those of gRPC's port.
 */
import { createServer, type Server as Http1Server } from "node:http";
import { createSecureServer, type Http2SecureServer, type Http2Session } from "node:http2";
import { BlockList, isIPv6, type AddressInfo, type Socket } from "node:net";
import { formatAddress, isUnix, type Address } from "../../config/address.ts";
import { headerBytesMax, headerPairsMax, httpRequestMsMax } from "../../limits.ts";
import type { Connections } from "../../rpc/bounds/connections.ts";
import { failListening, listenOptions, openSocketFile } from "../../rpc/transport/listening.ts";
import { within, type TransportLimits } from "../../rpc/transport/server.ts";
import type { TlsRenewal } from "../../rpc/transport/tls-renewal.ts";
import type { HttpRequest, HttpResponse } from "./call.ts";
import { Serving, type ServingOptions } from "./serving.ts";

export type HttpOptions = Omit<ServingOptions, "hosts" | "isProxy"> & {
  readonly address: Address;
  /** Of the file, where the address is a Unix socket. */
  readonly socketMode: number;
  readonly tls: Pick<TlsRenewal, "serverOptions" | "serve"> | null;
  readonly hosts: readonly string[];
  /** Addresses, and networks as `address/bits`. */
  readonly proxies: readonly string[];
  readonly limits: Pick<TransportLimits, "concurrentStreamsMax" | "sessionMemoryMiBMax">;
  /** To the first request, and between two. */
  readonly silentMs: number;
  readonly idleMs: number;
  readonly connections: Connections;
  readonly drainMs: number;
};

export type HttpServer = {
  /** For `curl`; of a Unix socket its address. */
  readonly url: string;
  /** Idempotent. Stops accepting, lets calls finish for `drainMs`, then breaks what is left. */
  readonly close: () => Promise<void>;
};

type Listener = Http1Server | Http2SecureServer;

const createListener = ({ tls, limits, silentMs, idleMs }: HttpOptions): Listener => {
  const http1 = {
    maxHeaderSize: headerBytesMax,
    headersTimeout: silentMs,
    requestTimeout: httpRequestMsMax,
    keepAliveTimeout: idleMs,
    connectionsCheckingInterval: silentMs / 4,
    requireHostHeader: true,
  };
  if (tls === null) return createServer(http1);
  const { concurrentStreamsMax, sessionMemoryMiBMax } = limits;
  const server = createSecureServer({
    ...tls.serverOptions,
    allowHTTP1: true,
    settings: { maxConcurrentStreams: concurrentStreamsMax, maxHeaderListSize: headerBytesMax },
    maxHeaderListPairs: headerPairsMax,
    maxSessionMemory: sessionMemoryMiBMax,
  });
  // Node reads those of HTTP/1.1 off the server, and takes them as options of its other one alone.
  return Object.assign(server, http1);
};

const listen = (server: Listener, address: Address): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(listenOptions(address), () => {
      server.off("error", reject);
      resolve();
    });
  });

const urlOf = ({ address, tls }: HttpOptions, server: Listener): string => {
  if (isUnix(address)) return formatAddress(address);
  const { port } = server.address() as AddressInfo;
  return `${tls === null ? "http" : "https"}://${formatAddress({ host: address.host, port })}`;
};

/** Whether an address is in a list of them and of networks. @throws TypeError for what is neither. */
const memberOf = (list: readonly string[]): ((address: string) => boolean) => {
  const members = new BlockList();
  for (const each of list) {
    const [address = "", bits] = each.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    members.addSubnet(address, Number(bits ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return (address) => members.check(address, isIPv6(address) ? "ipv6" : "ipv4");
};

/** What the last answers have to leave in. */
const answeredMs = 250;

/** Sockets, and the sessions among them that are told to end. */
class Open {
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Http2Session>();

  constructor(listener: Listener, idleMs: number) {
    listener.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    listener.on("session", (session: Http2Session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
      session.setTimeout(idleMs, () => session.close());
    });
  }

  sayGoodbye(): void {
    for (const session of this.#sessions) session.close();
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

const stop = async (listener: Listener, open: Open, { rpc, drainMs }: HttpOptions): Promise<void> => {
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  open.sayGoodbye();
  await within(drainMs, rpc.underWay.drain());
  await within(Math.min(answeredMs, drainMs), closed);
  open.destroy();
};

export const startHttp = async (options: HttpOptions): Promise<HttpServer> => {
  const { address, connections, tls } = options;
  const serving = new Serving({
    ...options,
    hosts: isUnix(address) ? null : options.hosts,
    isProxy: memberOf(options.proxies),
  });
  const listener = createListener(options);
  connections.watchHttp2(listener);
  connections.watchHttp1(listener);
  tls?.serve(listener as Http2SecureServer);
  const open = new Open(listener, options.idleMs);
  listener.on(
    "request",
    (request: HttpRequest, response: HttpResponse) => void serving.serve(request, response),
  );
  try {
    await listen(listener, address);
    await openSocketFile(address, options.socketMode);
  } catch (cause) {
    listener.close();
    return failListening("http_listen", address, cause);
  }
  listener.on("error", (error) => options.rpc.log.error({ err: error }, "HTTP port"));
  let closing: Promise<void> | undefined;
  return {
    url: urlOf(options, listener),
    close: () => (closing ??= stop(listener, open, options)),
  };
};
