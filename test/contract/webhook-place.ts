/** Places of webhook relays: a receiver over HTTPS under a test authority, and names that resolve as a test says. */
import { mkdtemp, rm } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { webhookDestination, type WebhookOptions } from "../../src/relay/webhook/webhook.ts";
import { createAuthority, type Authority, type Pair } from "./certificates.ts";
import {
  createRelayLedger,
  startRelay,
  until,
  type DestinationPlace,
  type StartOptions,
} from "./relay-world.ts";
import { keptOf, keyOfMessage, startReceiver, type Received, type Receiver } from "./webhook-receiver.ts";

export const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type GivenUp = { readonly key: string; readonly position: bigint; readonly rule: string };

export type WebhookPlace = DestinationPlace & {
  readonly root: string;
  readonly receiver: Receiver;
  readonly stops: GivenUp[];
  readonly givenUp: GivenUp[];
};

/** Every name is this machine, as a name server of the test says. */
const loopback: LookupFunction = (_hostname, { all }, callback) =>
  all === true ? callback(null, [{ address: "127.0.0.1", family: 4 }]) : callback(null, "127.0.0.1", 4);

/** @param addressFor counts from 1. @param seen the names that were resolved. */
export const answering =
  (addressFor: (call: number) => string, seen: string[] = []): LookupFunction =>
  (hostname, { all }, callback) => {
    const address = addressFor(seen.push(hostname));
    if (all === true) callback(null, [{ address, family: 4 }]);
    else callback(null, address, 4);
  };

export type WebhookTls = Disposable & { readonly authority: Authority; readonly pair: Pair };

export const createWebhookTls = async (): Promise<WebhookTls> => {
  const authority = await createAuthority();
  const pair = await authority.issue("receiver", "DNS:localhost,DNS:hooks.test");
  return { authority, pair, [Symbol.dispose]: () => authority[Symbol.dispose]() };
};

export const openWebhookPlace = async (
  tls: WebhookTls,
  options: Partial<WebhookOptions> = {},
  served: Pair | "plain" = tls.pair,
): Promise<WebhookPlace> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  const receiver = await startReceiver(served === "plain" ? undefined : served);
  const [stops, givenUp]: [GivenUp[], GivenUp[]] = [[], []];
  return {
    root,
    receiver,
    stops,
    givenUp,
    cursorPath: join(root, "cursor.json"),
    destination: (onStep) =>
      webhookDestination({
        url: `${receiver.url}/hook/path-secret?token=query-secret`,
        signature: "v1",
        readSecret: async () => `${webhookSecret}\n`,
        privateAddresses: ["127.0.0.1"],
        ca: tls.authority.ca,
        timeoutMs: 5000,
        parallel: 4,
        messageBytesMax: 1 << 20,
        poison: { kind: "stop_key" },
        keysPath: join(root, "keys.json"),
        observer: {
          onStopped: (key, position, rule) => stops.push({ key, position, rule }),
          onGivenUp: (key, position, rule) => givenUp.push({ key, position, rule }),
        },
        lookup: loopback,
        nowMs: Date.now,
        ...(onStep === undefined ? {} : { onStep }),
        ...options,
      }),
    messages: async () => keptOf(receiver.accepted),
    wipe: async () => void receiver.accepted.splice(0),
    [Symbol.asyncDispose]: async () => {
      await receiver[Symbol.asyncDispose]();
      await rm(root, { recursive: true });
    },
  };
};

export const startAt = (place: WebhookPlace, options: Partial<StartOptions> = {}) => {
  const source = createRelayLedger();
  const all = { source, destination: place.destination(), cursorPath: place.cursorPath, ...options };
  return { source, start: () => startRelay(all) };
};

/** Relays one record to a place that must refuse it. @returns the first error's rule. */
export const ruleOf = async (place: WebhookPlace, kind: "refused" | "retryable"): Promise<string> => {
  const { source, start } = startAt(place);
  source.add(1);
  await using seen = await start();
  await until(() => seen.errors.length > 0, "an error");
  expect(seen.errors[0]?.kind, seen.errors[0]?.rule).to.equal(kind);
  expect(seen.relay.status.next).to.equal(0n);
  return seen.errors[0]?.rule ?? "";
};

export const positionsOf = (received: readonly Received[], key?: string): readonly string[] =>
  received
    .filter(({ message }) => key === undefined || keyOfMessage(message) === key)
    .map(({ message }) => String(message["sigilposition"]));
