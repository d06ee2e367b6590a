/**
 * One event as one HTTP request: CloudEvents binary mode with Standard Webhooks headers, and what the response means.
 * Never follows a redirect; reads a bounded part of the response and keeps none of it. Sources: CloudEvents HTTP
 * binding 1.0.2 §3.1, Standard Webhooks 1.0.0, RFC 9110 §10.2.3 (Retry-After).
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { relayRetryAfterMsMax, relayWebhookReplyBytesMax, relayWebhookReplyMsMax } from "../../limits.ts";
import { isCertificateCode, type RelayError } from "../destination.ts";
import { headersOf, type RelayEvent } from "../event.ts";
import { createGate, gatedLookup, UnreachableByRule, type Reachable } from "./reachable.ts";
import type { SignMessage } from "./signature.ts";

export type Outcome =
  | { readonly kind: "acknowledged" }
  /** The receiver refuses this event for good. */
  | { readonly kind: "poison"; readonly rule: string }
  | { readonly kind: "failed"; readonly error: RelayError };

export type PostOptions = {
  readonly url: URL;
  readonly reachable: Reachable;
  readonly lookup: LookupFunction;
  /** PEM of authorities; undefined for those of the system. */
  readonly ca: string | undefined;
  /** From the connection to the status of the response. */
  readonly timeoutMs: number;
  /** Connections at a time. */
  readonly parallel: number;
  readonly sign: SignMessage;
  readonly nowMs: () => number;
};

export type Poster = Disposable & {
  /** Never rejects. */
  readonly post: (event: RelayEvent, signal: AbortSignal) => Promise<Outcome>;
};

const failed = (error: RelayError): Outcome => ({ kind: "failed", error });

const noBody = new Uint8Array();

const headersFor = (event: RelayEvent, { sign, nowMs }: PostOptions): Readonly<Record<string, string>> => {
  const id = event.attributes["id"] ?? "";
  const body = event.data?.bytes ?? noBody;
  // The time of the attempt, not of the event: receivers refuse old ones as replays.
  const timestampSeconds = Math.floor(nowMs() / 1000);
  const attributes = headersOf(event).filter(([name]) => name !== "ce-datacontenttype");
  return {
    ...Object.fromEntries(attributes),
    // The HTTP binding has the attribute datacontenttype here.
    ...(event.data === undefined ? {} : { "content-type": event.data.mediaType }),
    "content-length": String(body.length),
    "user-agent": "sigil-relay",
    "webhook-id": id,
    "webhook-timestamp": String(timestampSeconds),
    "webhook-signature": sign({ id, timestampSeconds, body }),
  };
};

/** Seconds or an HTTP date. @returns undefined if it is absent or malformed. */
export const parseRetryAfter = (value: string | undefined, nowMs: number): number | undefined => {
  if (value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), relayRetryAfterMsMax);
};

/** Statuses of the 4xx that say nothing about the event: timeout, too early, too many. */
const transient = new Set([408, 425, 429]);

const outcomeOf = ({ statusCode = 0, headers }: IncomingMessage, nowMs: number): Outcome => {
  const rule = `the receiver answered ${statusCode}`;
  if (statusCode >= 200 && statusCode < 300) return { kind: "acknowledged" };
  if (statusCode >= 300 && statusCode < 400)
    return failed({ kind: "refused", rule: `${rule}: redirects are not followed` });
  if (statusCode >= 400 && statusCode < 500 && !transient.has(statusCode)) return { kind: "poison", rule };
  const afterMs = parseRetryAfter(headers["retry-after"], nowMs);
  return failed({ kind: "retryable", rule, ...(afterMs === undefined ? {} : { afterMs }) });
};

/** Messages of the system are left out: they could name what the URL holds. */
const errorOf = (cause: unknown): RelayError => {
  if (cause instanceof UnreachableByRule)
    return {
      kind: "refused",
      rule: `the host is ${cause.address}, which no webhook may reach unless private_addresses has it`,
    };
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
  if (isCertificateCode(code)) return { kind: "refused", rule: `the receiver's certificate: ${code}` };
  return { kind: "retryable", rule: `cannot reach the receiver: ${code}` };
};

/** Frees the connection: by reading the rest of a short response, else by ending it. */
const finish = (response: IncomingMessage): Promise<void> =>
  new Promise((resolve) => {
    let bytes = 0;
    const timer = setTimeout(() => response.destroy(), relayWebhookReplyMsMax);
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > relayWebhookReplyBytesMax) response.destroy();
    });
    response.on("error", () => {});
    response.on("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, "");

export const createPoster = (options: PostOptions): Poster => {
  const { url, reachable, ca, timeoutMs, parallel, nowMs } = options;
  const isOpen = createGate(reachable);
  const connection = { keepAlive: true, maxSockets: parallel, lookup: gatedLookup(options.lookup, isOpen) };
  const isPlain = url.protocol === "http:";
  const agent = isPlain
    ? new HttpAgent(connection)
    : // Whatever the environment says of certificates.
      new HttpsAgent({ ...connection, rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) });
  const request = isPlain ? httpRequest : httpsRequest;
  const literal = isIP(bare(url.hostname)) === 0 ? undefined : bare(url.hostname);

  const send = (event: RelayEvent, signal: AbortSignal): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      // node:net resolves no literal address, so its check is here.
      if (literal !== undefined && !isOpen(literal)) return reject(new UnreachableByRule(literal));
      const sent = request(url, { agent, method: "POST", headers: headersFor(event, options), signal });
      sent.on("response", resolve);
      sent.on("error", reject);
      sent.end(event.data?.bytes);
    });

  return {
    post: async (event, signal) => {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), timeoutMs);
      try {
        const response = await send(event, AbortSignal.any([signal, late.signal]));
        const outcome = outcomeOf(response, nowMs());
        await finish(response);
        return outcome;
      } catch (cause) {
        return failed(
          late.signal.aborted
            ? { kind: "retryable", rule: `no answer within ${timeoutMs} ms` }
            : errorOf(cause),
        );
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
};
