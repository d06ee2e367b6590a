/**
 * Prometheus metrics of relays, labelled by configured name.
 */
import { Counter, Gauge, type Registry } from "prom-client";

/** Read by the gauges on each scrape. */
type RelayFacts = {
  readonly name: string;
  readonly state: string;
  /** Unacknowledged records. */
  readonly lag: bigint;
  readonly lagMs: number;
  readonly stopped: readonly unknown[];
};

const failureKinds = ["retryable", "refused", "poison", "lost"];

const watchRelays = (source: () => readonly RelayFacts[], registers: Registry[]): void => {
  const gauge = (name: string, help: string, read: (facts: RelayFacts) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ["relay"],
      registers,
      collect() {
        for (const facts of source()) this.set({ relay: facts.name }, read(facts));
      },
    });
  };
  gauge("sigil_relay_lag_records", "Records that a relay's destination has not acknowledged.", ({ lag }) =>
    Number(lag),
  );
  gauge(
    "sigil_relay_lag_seconds",
    "Time since the oldest of them was made, about; 0 without any.",
    ({ lagMs }) => lagMs / 1000,
  );
  gauge("sigil_relay_running", "1 while a relay publishes or waits for records, else 0.", ({ state }) =>
    state === "running" ? 1 : 0,
  );
  gauge(
    "sigil_relay_stopped_keys",
    "Keys whose records a relay holds back behind one that its destination refused.",
    ({ stopped }) => stopped.length,
  );
};

export type RelayMetrics = {
  /** Events that a relay's destination acknowledged. */
  readonly onRelayed: (relay: string, events: number) => void;
  /** A try of a relay failed, or its destination lost something. */
  readonly onRelayFailure: (relay: string, kind: string) => void;
  readonly watchRelays: (source: () => readonly RelayFacts[]) => void;
};

export const createRelayMetrics = (registers: Registry[]): RelayMetrics => {
  const published = new Counter({
    name: "sigil_relay_events_total",
    help: "Events that a relay's destination acknowledged.",
    labelNames: ["relay"],
    registers,
  });
  const failures = new Counter({
    name: "sigil_relay_failures_total",
    help: "Tries of a relay that failed, and losses of its destination, by kind.",
    labelNames: ["relay", "kind"],
    registers,
  });
  return {
    onRelayed: (relay, events) => published.inc({ relay }, events),
    onRelayFailure: (relay, kind) => failures.inc({ relay, kind }),
    watchRelays: (source) => {
      for (const { name } of source()) {
        published.inc({ relay: name }, 0);
        for (const kind of failureKinds) failures.inc({ relay: name, kind }, 0);
      }
      watchRelays(source, registers);
    },
  };
};
