/**
 * The operator's port: /metrics, /healthz (the process lives) and /readyz (it serves). GET and HEAD only, no bodies,
 * nothing of any tenant. At most `operatorConnectionsMax` connections with `operatorHeaderBytesMax` of headers, the
 * silent ones of which make place for the next: a probe is always answered.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { operatorHeaderBytesMax, operatorRequestMsMax, operatorSilentMsMax } from "../limits.ts";
import { formatAddress, isUnix, type Address } from "../config/address.ts";
import type { Connections } from "../rpc/bounds/connections.ts";
import { failListening, listenOptions, openSocketFile } from "../rpc/transport/listening.ts";
import type { MetricsText } from "./metrics.ts";

export type OperatorOptions = {
  readonly address: Address;
  /** Of the file, where the address is a Unix socket. */
  readonly socketMode: number;
  readonly metrics: MetricsText;
  /** Null while serving, else why not. */
  readonly whyNotReady: () => string | null;
  /** What does not work though it is ready. */
  readonly notes: () => readonly string[];
  readonly connections: Connections;
  readonly onError: (error: unknown) => void;
};

export type OperatorServer = { readonly url: string; readonly close: () => Promise<void> };

type Reply = { readonly status: number; readonly type: string; readonly text: string };

const plain = (status: number, text: string): Reply => ({ status, type: "text/plain; charset=utf-8", text });

const replyTo = async (request: IncomingMessage, options: OperatorOptions): Promise<Reply> => {
  if (request.method !== "GET" && request.method !== "HEAD") return plain(405, "GET only\n");
  const [path = ""] = (request.url ?? "").split("?", 1);
  switch (path) {
    case "/healthz":
      return plain(200, "ok\n");
    case "/readyz": {
      const reason = options.whyNotReady();
      return reason === null
        ? plain(200, ["ready", ...options.notes(), ""].join("\n"))
        : plain(503, `not ready: ${reason}\n`);
    }
    case "/metrics":
      return { status: 200, type: options.metrics.contentType, text: await options.metrics.text() };
    default:
      return plain(404, "/metrics, /healthz, /readyz\n");
  }
};

const send = (request: IncomingMessage, response: ServerResponse, reply: Reply): void => {
  response.writeHead(reply.status, {
    "content-type": reply.type,
    "content-length": Buffer.byteLength(reply.text),
    "cache-control": "no-store",
    ...(reply.status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : reply.text);
};

const serve = async (
  request: IncomingMessage,
  response: ServerResponse,
  options: OperatorOptions,
): Promise<void> => {
  try {
    send(request, response, await replyTo(request, options));
  } catch (error) {
    options.onError(error);
    if (!response.headersSent) send(request, response, plain(500, "internal error\n"));
    else response.destroy();
  }
};

const listen = (server: Server, address: Address): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(listenOptions(address), () => {
      server.off("error", reject);
      resolve();
    });
  });

/** For `curl`, or `curl --unix-socket PATH http://sigil/…`. */
const urlOf = (address: Address, server: Server): string => {
  if (isUnix(address)) return formatAddress(address);
  const { port } = server.address() as AddressInfo;
  return `http://${formatAddress({ host: address.host, port })}`;
};

export const startOperator = async (options: OperatorOptions): Promise<OperatorServer> => {
  const server = createServer(
    {
      maxHeaderSize: operatorHeaderBytesMax,
      headersTimeout: operatorSilentMsMax,
      // Node looks every half minute unless told.
      connectionsCheckingInterval: operatorSilentMsMax / 4,
      requestTimeout: operatorRequestMsMax,
      keepAliveTimeout: operatorRequestMsMax,
    },
    (request, response) => {
      const place = places.get(request.socket);
      if (place !== undefined) response.once("close", options.connections.request(place));
      void serve(request, response, options);
    },
  );
  const places = new WeakMap<object, ReturnType<Connections["admit"]>>();
  server.on("connection", (socket) => places.set(socket, options.connections.admit(socket)));
  try {
    await listen(server, options.address);
    await openSocketFile(options.address, options.socketMode);
  } catch (cause) {
    server.close();
    return failListening("operator_listen", options.address, cause);
  }
  server.on("error", options.onError);
  let closing: Promise<void> | undefined;
  return {
    url: urlOf(options.address, server),
    close: () =>
      (closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        options.connections.close();
      })),
  };
};
