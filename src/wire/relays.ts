/**
 * Starts the configured relays on the ledger's feed, after the ports, and stops them before. An unreachable destination
 * affects neither start nor readiness; metrics, the log and `sigil relay status` report it. Called only by server.ts.
 */
import { lookup } from "node:dns";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { erasedPrefix, systemTenant } from "@sigil/core/record";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { RelaySettings } from "../config/relays.ts";
import { fail } from "../errors.ts";
import type { Metrics } from "../gateway/metrics.ts";
import { readFeed } from "../ledger/feed-source.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { openRelayControl, relaySocket } from "../relay/control.ts";
import type { Destination } from "../relay/destination.ts";
import { filesDestination } from "../relay/files.ts";
import { Relay, type RelayObserver } from "../relay/relay.ts";
import type { FeedSource } from "../relay/source.ts";
import type { WebhookObserver } from "../relay/webhook/webhook.ts";

type Watched = { readonly log: Logger; readonly metrics: Metrics };

/** Directory of cursor files within the data directory. */
const stateDirectory = "relay";

const sourceOf = (ledger: Ledger): FeedSource => ({
  origin: ledger.reader.origin,
  size: () => ledger.reader.size,
  from: (position, call) => readFeed(ledger, position, call),
});

/** Loads the client library of a broker only if it is used. */
const destinationOf = async (
  { name, target }: RelaySettings,
  config: Config,
  watched: Watched,
): Promise<Destination> => {
  switch (target.kind) {
    case "files":
      return filesDestination({ ...target, nowMs: Date.now });
    case "nats":
      return (await import("../relay/nats.ts")).natsDestination(target);
    case "webhook":
      return (await import("../relay/webhook/webhook.ts")).webhookDestination({
        ...target,
        readSecret: () => readSecret(target.secret),
        keysPath: join(config.data, stateDirectory, `${name}.keys.json`),
        observer: webhookObserverOf(name, watched),
        lookup,
        nowMs: Date.now,
      });
  }
};

type SecretPlace = Extract<RelaySettings["target"], { readonly kind: "webhook" }>["secret"];

const readSecret = async (place: SecretPlace): Promise<string> =>
  place.kind === "file" ? readFile(place.path, "utf8") : (process.env[place.name] ?? "");

const webhookObserverOf = (relay: string, { log, metrics }: Watched): WebhookObserver => ({
  onStopped: (key, position, rule) => {
    log.error({ relay, key, position: String(position), rule }, "relay: stopped at a key, the others go on");
    metrics.onRelayFailure(relay, "poison");
  },
  onGivenUp: (key, position, rule) => {
    log.error({ relay, key, position: String(position), rule }, `relay: order given up for ${key}`);
    metrics.onRelayFailure(relay, "poison");
  },
});

const observerOf = (relay: string, { log, metrics }: Watched): RelayObserver => ({
  onState: (state, error) => {
    const fields = {
      relay,
      state,
      ...(error === undefined ? {} : { failure: error.kind, rule: error.rule }),
    };
    if (error === undefined) log.info(fields, "relay");
    else log.warn(fields, "relay: nothing is published for now");
  },
  onFailure: (kind) => metrics.onRelayFailure(relay, kind),
  onLost: (from, until) => {
    const fields = { relay, from: String(from), until: String(until) };
    log.error(fields, "relay: the destination lost what it had acknowledged; it is published again");
    metrics.onRelayFailure(relay, "lost");
  },
  onPublished: (events) => metrics.onRelayed(relay, events),
});

const startRelay = async (
  settings: RelaySettings,
  ledger: Ledger,
  config: Config,
  watched: Watched,
): Promise<Relay> => {
  const { name, typePrefix, data, format, from, tenants, kinds, spaces } = settings;
  return Relay.start({
    name,
    source: sourceOf(ledger),
    destination: await destinationOf(settings, config, watched),
    filter: { tenants, kinds, spaces },
    event: { typePrefix, data, format },
    from,
    cursorPath: join(config.data, stateDirectory, `${name}.json`),
    observer: observerOf(name, watched),
    nowMs: Date.now,
    random: Math.random,
    sleep: async (ms, signal) => {
      await delay(ms, undefined, { signal, ref: false }).catch(() => {});
    },
    turn: () => turn(),
  });
};

/** Without relays it opens nothing. @throws invalidConfig if it cannot listen on the control socket. */
export const openRelays = async (
  ledger: Ledger,
  config: Config,
  watched: Watched,
): Promise<AsyncDisposable> => {
  await using opened = new AsyncDisposableStack();
  const relays: Relay[] = [];
  for (const settings of config.relays) {
    const relay = await startRelay(settings, ledger, config, watched);
    opened.defer(() => relay.close());
    relays.push(relay);
  }
  if (relays.length > 0) {
    watched.metrics.watchRelays(() => relays.map(({ status }) => status));
    const path = join(config.data, relaySocket);
    const control = await openRelayControl({
      path,
      relays,
      size: () => ledger.reader.size,
      isErased: async (tenant) =>
        (await ledger.reader.head(systemTenant, "system", erasedPrefix + tenant)) !== undefined,
      onFault: (cause) => watched.log.error({ err: cause }, "relay: control"),
    }).catch((cause: unknown) =>
      fail({ kind: "invalidConfig", key: "data", rule: `cannot listen on ${path}` }, { cause }),
    );
    opened.use(control);
  }
  return opened.move();
};
