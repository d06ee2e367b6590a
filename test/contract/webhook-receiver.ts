/** A receiver of webhooks over HTTPS: keeps what it accepts, verifies as Standard Webhooks says, answers as told. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { SeenMessage } from "./relay-world.ts";
import { pemOf, type Pair } from "./certificates.ts";

export type Received = {
  readonly path: string;
  /** Of the sender: one for each connection. */
  readonly port: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly message: SeenMessage;
};

/** What a receiver does with one request; without an answer of its own it accepts. */
export type Answer = (received: Received, response: ServerResponse) => void | Promise<void>;

export type Receiver = AsyncDisposable & {
  readonly port: number;
  /** `https://localhost:port`. */
  readonly url: string;
  /** Every request, in the order of arrival. */
  readonly received: Received[];
  /** Those answered with 2xx. */
  readonly accepted: Received[];
  answer: Answer;
  /** Requests being answered, and the most there were at a time: of all keys, and of one. */
  readonly peaks: { all: number; key: number };
};

const messageOf = ({ headers }: IncomingMessage, body: Buffer): SeenMessage => ({
  ...Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith("ce-"))
      .map(([name, value]) => [name.slice(3), decodeURIComponent(String(value))] as const),
  ),
  ...(headers["content-type"] === undefined ? {} : { datacontenttype: headers["content-type"] }),
  ...(body.length === 0 ? {} : { data: body }),
});

export const keyOfMessage = ({ subject }: SeenMessage): string =>
  typeof subject === "string" ? subject : "_erased";

const listen = async (server: Server | ReturnType<typeof createHttp>, host: string, port: number) => {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
};

/** @param pair without one, plain HTTP. */
export const startReceiver = async (
  pair: Pair | undefined,
  { host = "127.0.0.1", port = 0 }: { readonly host?: string; readonly port?: number } = {},
): Promise<Receiver> => {
  const [received, accepted]: [Received[], Received[]] = [[], []];
  const inFlight = new Map<string, number>();
  const handle: RequestListener = (request, response) => {
    void (async () => {
      const body = await buffer(request);
      const message = messageOf(request, body);
      const one = {
        path: request.url ?? "",
        port: request.socket.remotePort ?? 0,
        headers: request.headers,
        body,
        message,
      };
      received.push(one);
      const key = keyOfMessage(message);
      inFlight.set(key, (inFlight.get(key) ?? 0) + 1);
      receiver.peaks.key = Math.max(receiver.peaks.key, inFlight.get(key) ?? 0);
      const all = [...inFlight.values()].reduce((sum, count) => sum + count, 0);
      receiver.peaks.all = Math.max(receiver.peaks.all, all);
      await receiver.answer(one, response);
      inFlight.set(key, (inFlight.get(key) ?? 0) - 1);
      if (!response.headersSent) response.writeHead(204).end();
      if (response.statusCode < 300) accepted.push(one);
    })().catch(() => request.destroy());
  };
  const server = pair === undefined ? createHttp(handle) : createHttps(pemOf(pair), handle);
  const listening = await listen(server, host, port);
  const receiver: Receiver = {
    port: listening,
    url: `${pair === undefined ? "http" : "https"}://localhost:${listening}`,
    received,
    accepted,
    answer: () => {},
    peaks: { all: 0, key: 0 },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return receiver;
};

/** As a consumer keeps them: each id of a generation once, in ledger order. */
export const keptOf = (accepted: readonly Received[]): readonly SeenMessage[] => {
  const kept = new Map<string, SeenMessage>();
  for (const { headers, message } of accepted) {
    const mark = `${String(message["sigilgeneration"])} ${String(headers["webhook-id"])}`;
    if (!kept.has(mark)) kept.set(mark, message);
  }
  return [...kept.values()].sort((a, b) => (String(a["sequence"]) < String(b["sequence"]) ? -1 : 1));
};

const toleranceSeconds = 300;

/** A receiver's check, written from the specification. @returns what is wrong, or undefined. */
export const webhookFault = (
  { headers, body }: Pick<Received, "headers" | "body">,
  secret: string,
  nowMs: number,
): string | undefined => {
  const [id, timestamp, signature] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) =>
    String(headers[name]),
  ) as [string, string, string];
  if (!/^\d+$/.test(timestamp)) return "no timestamp";
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > toleranceSeconds) return "an old timestamp";
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key)
    .update(Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]))
    .digest();
  const isOurs = signature.split(" ").some((one) => {
    const [version, encoded = ""] = one.split(",");
    const given = Buffer.from(encoded, "base64");
    return version === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
  return isOurs ? undefined : "no signature of the secret";
};
