/**
 * Starts the configured relays on a feed: the server on its ledger's, after the ports, and a process of relays on a
 * server's (`relay-process.ts`). An unreachable destination affects neither start nor readiness; metrics, the log
 * and `sigil relay status` report it.
 */
import { lookup } from "node:dns";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { toHex, type Hash } from "@sigil/core/bytes";
import { erasedPrefix, systemTenant, type Disclosing } from "@sigil/core/record";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { RelaySettings } from "../config/relays.ts";
import { assert, fail, SigilFault } from "../errors.ts";
import type { RelayMetrics } from "../gateway/relay-metrics.ts";
import { readFeed } from "../ledger/feed-source.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import { openRelayControl, relaySocket } from "../relay/control.ts";
import type { Destination } from "../relay/destination.ts";
import { filesDestination } from "../relay/files.ts";
import type { Filter } from "../relay/plan.ts";
import type { RelayObserver } from "../relay/relay-options.ts";
import { Relay } from "../relay/relay.ts";
import type { FeedSource } from "../relay/source.ts";
import type { WebhookObserver } from "../relay/webhook/webhook.ts";

type Watched = { readonly log: Logger; readonly metrics: RelayMetrics };

/** The ledger as relays need it, from within the server or from outside. */
export type RelayedLedger = {
  /** What a relay with this filter reads; records that the filter leaves out may be missing. */
  readonly feedOf: (filter: Filter, disclosing: Disclosing) => FeedSource;
  /** In records. */
  readonly size: () => bigint;
  /** Whether it has the record that a tenant is erased. @throws RelayFault if it cannot be asked for that relay. */
  readonly isErased: (tenant: string, filter: Filter) => Promise<boolean>;
};

type RelaysConfig = Pick<Config, "data" | "relays">;

/** Directory of cursor files within the data directory. */
export const stateDirectory = "relay";

/** Records of an erased tenant are there no more. */
const positionOf = async (reader: LedgerReader, hash: Hash): Promise<bigint | undefined> => {
  try {
    return (await reader.readHash(hash))?.position;
  } catch (cause) {
    if (cause instanceof SigilFault && cause.error.kind === "erased") return undefined;
    throw cause;
  }
};

/** A server's own. */
export const relayedLedger = (ledger: Ledger): RelayedLedger => {
  const { reader } = ledger;
  const size = (): bigint => reader.size;
  const feedOf = (_: Filter, disclosing: Disclosing): FeedSource => ({
    origin: reader.origin,
    size,
    from: (position, { signal }) => readFeed(ledger, position, { signal, disclosing }),
    hasLeaf: async (position, leaf) => (await reader.tree.leaves([position])).map(toHex)[0] === leaf,
    positionOf: (hash) => positionOf(reader, hash),
  });
  return {
    feedOf,
    size,
    isErased: async (tenant) =>
      (await reader.head(systemTenant, "system", erasedPrefix + tenant)) !== undefined,
  };
};

/** Loads the client library of a broker only if it is used. */
const destinationOf = async (
  { name, target }: RelaySettings,
  config: RelaysConfig,
  watched: Watched,
): Promise<Destination> => {
  switch (target.kind) {
    case "files":
      return filesDestination({ ...target, nowMs: Date.now });
    case "nats":
      return (await import("../relay/nats.ts")).natsDestination(target);
    case "sqs":
      return (await import("../relay/sqs/sqs.ts")).sqsDestination({ ...target, owner: "" });
    case "kafka":
      return (await import("../relay/kafka/kafka.ts")).kafkaDestination(target);
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
  ledger: RelayedLedger,
  config: RelaysConfig,
  watched: Watched,
): Promise<Relay> => {
  const { name, typePrefix, data, format, disclosures, from } = settings;
  const filter = filterOf(settings);
  return Relay.start({
    name,
    source: ledger.feedOf(filter, disclosures),
    destination: await destinationOf(settings, config, watched),
    filter,
    event: { typePrefix, data, format, disclosures },
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

const filterOf = ({ tenants, kinds, spaces }: RelaySettings): Filter => ({ tenants, kinds, spaces });

/** Without relays it opens nothing. @throws invalidConfig if it cannot listen on the control socket. */
export const openRelays = async (
  ledger: RelayedLedger,
  config: RelaysConfig,
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
    const filters = new Map(config.relays.map((settings) => [settings.name, filterOf(settings)]));
    const control = await openRelayControl({
      path,
      relays,
      size: () => ledger.size(),
      isErased: (tenant, relay) => {
        const filter = filters.get(relay);
        assert(filter !== undefined, "a relay that was started");
        return ledger.isErased(tenant, filter);
      },
      onFault: (cause) => watched.log.error({ err: cause }, "relay: control"),
    }).catch((cause: unknown) =>
      fail({ kind: "invalidConfig", key: "data", rule: `cannot listen on ${path}` }, { cause }),
    );
    opened.use(control);
  }
  return opened.move();
};
