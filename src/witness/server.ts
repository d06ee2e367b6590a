/**
 * A witness over HTTP, C2SP tlog-witness: `POST /add-checkpoint`, and what it cosigned last of each log at
 * `GET /<SHA-256 of the origin in hex>/checkpoint`. HTTP/1.1 without TLS: whoever faces the internet puts a proxy
 * before it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { toHex, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import { noteBytesMax } from "@sigil/core/limits";
import type { Logger } from "pino";
import { describeError, SigilFault } from "../errors.ts";
import { witnessConnectionsMax, witnessRequestMsMax } from "../limits.ts";
import type { Answer, Witness } from "./witness.ts";

export type WitnessServerOptions = {
  readonly witness: Witness;
  readonly host: string;
  readonly port: number;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
};

export type WitnessServer = {
  readonly url: string;
  /** Idempotent. Stops accepting, and lets requests finish. */
  readonly close: () => Promise<void>;
};

/** A note, 63 lines of a proof, and the line before them. */
const bodyBytesMax = noteBytesMax + (4 << 10);

const plain = "text/plain; charset=utf-8";

type Reply = { readonly status: number; readonly type: string; readonly body: string };

const refusal = (status: number, rule: string): Reply => ({ status, type: plain, body: `${rule}\n` });

const replyOf = (answer: Answer): Reply => {
  switch (answer.kind) {
    case "cosigned":
      return { status: 200, type: plain, body: answer.lines };
    case "malformed":
      return refusal(400, answer.rule);
    case "unsigned":
      return refusal(403, answer.rule);
    case "unknownLog":
      return refusal(404, answer.rule);
    case "conflict":
      return { status: 409, type: "text/x.tlog.size", body: `${answer.size}\n` };
    case "inconsistent":
      return refusal(422, answer.rule);
  }
};

/** Undefined if it is too large. */
const readBody = async (request: IncomingMessage): Promise<Uint8Array | undefined> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > bodyBytesMax) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
};

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return utf8Decode(bytes);
  } catch {
    return undefined;
  }
};

const add = async (witness: Witness, request: IncomingMessage): Promise<Reply> => {
  const bytes = await readBody(request);
  if (bytes === undefined) return refusal(413, `the body must be at most ${bodyBytesMax} bytes`);
  const text = textOf(bytes);
  return text === undefined ? refusal(400, "the body must be UTF-8") : replyOf(await witness.add(text));
};

const answer = async (
  { witness }: WitnessServerOptions,
  paths: ReadonlyMap<string, string>,
  request: IncomingMessage,
): Promise<Reply> => {
  const { method } = request;
  const path = new URL(request.url ?? "/", "http://witness").pathname;
  if (path === "/add-checkpoint") {
    return method === "POST" ? add(witness, request) : refusal(405, "add-checkpoint is a POST");
  }
  if (method !== "GET" && method !== "HEAD") return refusal(405, "only add-checkpoint is a POST");
  if (path === "/healthz") return refusal(200, "ok");
  const origin = paths.get(path);
  const note = origin === undefined ? undefined : await witness.latest(origin);
  return note === undefined
    ? refusal(404, "nothing was cosigned under this path")
    : { status: 200, type: plain, body: note };
};

const send = (response: ServerResponse, { status, type, body }: Reply, method = "GET"): void => {
  const bytes = utf8Encode(body);
  response.writeHead(status, {
    "content-type": type,
    "content-length": bytes.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(status === 413 ? { connection: "close" } : {}),
  });
  response.end(method === "HEAD" ? undefined : bytes);
};

const listen = (server: Server, { host, port }: WitnessServerOptions): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve(server.address() as AddressInfo);
    });
  });

/** @throws the system's error if the address cannot be listened on. */
export const serveWitness = async (options: WitnessServerOptions): Promise<WitnessServer> => {
  const { witness, log } = options;
  const paths = new Map(
    witness.origins.map((origin) => [`/${toHex(sha256(utf8Encode(origin)))}/checkpoint`, origin]),
  );
  const server = createServer({
    headersTimeout: witnessRequestMsMax,
    requestTimeout: witnessRequestMsMax,
    connectionsCheckingInterval: witnessRequestMsMax / 4,
  });
  server.maxConnections = witnessConnectionsMax;
  server.on("request", (request, response) => {
    answer(options, paths, request).then(
      (reply) => {
        if (request.method === "POST") log.info({ status: reply.status }, "add-checkpoint");
        send(response, reply, request.method);
      },
      (error: unknown) => {
        if (request.destroyed && !request.complete) return;
        const what = error instanceof SigilFault ? describeError(error.error) : "unexpected error";
        log.error({ error: what }, "request failed");
        send(response, refusal(500, "the witness could not answer; nothing was cosigned"), request.method);
      },
    );
  });
  const { address, port, family } = await listen(server, options);
  let closing: Promise<void> | undefined;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    close: () => {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
      return closing;
    },
  };
};
