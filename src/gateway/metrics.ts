/**
 * What the server counts, for Prometheus. Labels are closed sets (methods of the contracts, gRPC codes, verdicts), so
 * the number of series is bounded. Nothing here ever holds a caller's text.
 */
import { status as Code } from "@grpc/grpc-js";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { FrozenVerdict } from "@sigil/core/record";
import type { TlsFacts } from "../rpc/transport/tls-renewal.ts";
import { createRelayMetrics, type RelayMetrics } from "./relay-metrics.ts";
import { watchTls } from "./tls-metrics.ts";
import { createWitnessMetrics, type WitnessMetrics } from "./witness-metrics.ts";

/** Seconds; from a fast read to the longest deadline. */
const latencySeconds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
const groupRecords = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** What gauges ask when they are read. */
export type MetricSources = {
  readonly queue: () => { readonly queuedRecords: number; readonly queuedBytes: number };
  readonly ledgerSize: () => bigint;
  readonly isServing: () => boolean;
};

/** What the sandbox's gauges ask when they are read. */
export type SandboxSource = () => {
  readonly running: number;
  readonly warm: number;
  readonly restarts: number;
};

/** What the log's metrics ask when they are read. */
export type LogSource = () => { readonly linesLost: number; readonly queuedBytes: number };

export type Metrics = {
  readonly onCall: (path: string, code: number, elapsedMs: number) => void;
  readonly onVerdict: (verdict: FrozenVerdict) => void;
  readonly onGroup: (records: number) => void;
  readonly onVerifyFailure: (step: string) => void;
  readonly onKeyChange: (change: "rotated" | "retired", role: string) => void;
  readonly onSuspension: (what: "principal" | "key") => void;
  /** A run of a module has ended, or did not begin; `end` is the word of its record. */
  readonly onRun: (end: string, elapsedMs: number) => void;
  /** A call, a connection or what else was refused, by the bound that it met. */
  readonly onRefused: (bound: string) => void;
  /** What is held of each bound, by the name of its gauge. */
  readonly watchBounds: (sources: Readonly<Record<BoundGauge, () => number>>) => void;
  /** The ledger is opened after the metrics that watch its opening. */
  readonly watch: (sources: MetricSources) => void;
  readonly watchSandbox: (source: SandboxSource) => void;
  readonly watchTls: (source: () => TlsFacts) => void;
  readonly watchLog: (source: LogSource) => void;
} & RelayMetrics &
  WitnessMetrics &
  MetricsText;

/** What the operator's port answers. */
export type MetricsText = { readonly contentType: string; readonly text: () => Promise<string> };

const boundGauges = {
  sigil_intake_bytes: "Bytes of long messages being received, expanded or answered.",
  sigil_intake_waiting: "Long messages that wait to be read or expanded.",
  sigil_reply_bytes: "Bytes of long answers being made or not read yet.",
  sigil_reply_waiting: "Calls that wait for room for a long answer.",
  sigil_streams: "Streams under way.",
  sigil_connections: "Connections of the gRPC port.",
} as const;

export type BoundGauge = keyof typeof boundGauges;

/** Metrics of the process, however many servers run in it. */
let processRegistry: Registry | undefined;

const processMetrics = (): Registry => {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
};

/** Looking a child up by its labels costs a hash each time; a call pays one map lookup instead. */
const callObserver = (registers: Registry[]) => {
  const calls = new Histogram({
    name: "sigil_rpc_duration_seconds",
    help: "Time from a call's headers to its status, by method and gRPC code. Its count is the rate of calls.",
    labelNames: ["method", "code"],
    buckets: latencySeconds,
    registers,
  });
  const children = new Map<string, Map<number, Histogram.Internal<"method" | "code">>>();
  return (path: string, code: number, elapsedMs: number): void => {
    let byCode = children.get(path);
    if (byCode === undefined) children.set(path, (byCode = new Map()));
    let child = byCode.get(code);
    if (child === undefined) {
      child = calls.labels({ method: path, code: Code[code] ?? String(code) });
      byCode.set(code, child);
    }
    child.observe(elapsedMs / 1000);
  };
};

const gaugeIn =
  (registers: Registry[]) =>
  (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };

const watchBounds = (sources: Readonly<Record<BoundGauge, () => number>>, registers: Registry[]): void => {
  const gauge = gaugeIn(registers);
  for (const [name, help] of Object.entries(boundGauges)) gauge(name, help, sources[name as BoundGauge]);
};

const watchLedger = (sources: MetricSources, registers: Registry[]): void => {
  const gauge = gaugeIn(registers);
  gauge(
    "sigil_append_queue_records",
    "Records that wait for the sequencer.",
    () => sources.queue().queuedRecords,
  );
  gauge("sigil_append_queue_bytes", "Bytes that wait for the sequencer.", () => sources.queue().queuedBytes);
  gauge("sigil_ledger_records", "Records in the ledger.", () => Number(sources.ledgerSize()));
  gauge("sigil_ledger_serving", "1 while the ledger serves, else 0.", () => (sources.isServing() ? 1 : 0));
};

const watchSandbox = (source: SandboxSource, registers: Registry[]): void => {
  const gauge = gaugeIn(registers);
  gauge("sigil_module_runs_under_way", "Runs in a sandbox process.", () => source().running);
  gauge("sigil_sandbox_warm", "Sandbox processes that wait for a run.", () => source().warm);
  new Counter({
    name: "sigil_sandbox_restarts_total",
    help: "Sandbox processes that were replaced.",
    registers,
    collect() {
      this.reset();
      this.inc(source().restarts);
    },
  });
};

const watchLog = (source: LogSource, registers: Registry[]): void => {
  new Counter({
    name: "sigil_log_lines_lost_total",
    help: "Log lines that were never written: the destination took none for longer than they could wait.",
    registers,
    collect() {
      this.reset();
      this.inc(source().linesLost);
    },
  });
  new Gauge({
    name: "sigil_log_queue_bytes",
    help: "Bytes of log lines that wait for their destination.",
    registers,
    collect() {
      this.set(source().queuedBytes);
    },
  });
};

export const createMetrics = (): Metrics => {
  const registry = new Registry();
  const registers = [registry];
  const verdicts = new Counter({
    name: "sigil_verdicts_total",
    help: "Decisions committed, by verdict.",
    labelNames: ["verdict"],
    registers,
  });
  const groups = new Histogram({
    name: "sigil_commit_group_records",
    help: "Records committed in one synchronous batch.",
    buckets: groupRecords,
    registers,
  });
  const failures = new Counter({
    name: "sigil_verify_failures_total",
    help: "Stored records that failed their own proof when read, by the step that failed.",
    labelNames: ["step"],
    registers,
  });
  const keyChanges = new Counter({
    name: "sigil_key_changes_total",
    help: "Signing keys that were rotated or retired, by role.",
    labelNames: ["change", "role"],
    registers,
  });
  const suspensions = new Counter({
    name: "sigil_suspensions_total",
    help: "Principals and keys of principals that were suspended, by which of the two.",
    labelNames: ["what"],
    registers,
  });
  const runs = new Histogram({
    name: "sigil_module_run_duration_seconds",
    help: "Time of a run with its decision, up to its record, by how it ended. Its count is the number of runs.",
    labelNames: ["end"],
    buckets: latencySeconds,
    registers,
  });
  const refusals = new Counter({
    name: "sigil_refused_total",
    help: "Calls, connections and proposals refused because a bound was reached, or over HTTP before they were calls, by the bound or the reason.",
    labelNames: ["bound"],
    registers,
  });
  const onCall = callObserver(registers);
  const byVerdict = {
    allow: verdicts.labels({ verdict: "allow" }),
    deny: verdicts.labels({ verdict: "deny" }),
    review: verdicts.labels({ verdict: "review" }),
  } satisfies Record<FrozenVerdict, unknown>;
  for (const counter of Object.values(byVerdict)) counter.inc(0);
  return {
    onCall,
    onVerdict: (verdict) => byVerdict[verdict].inc(),
    onGroup: (records) => groups.observe(records),
    onVerifyFailure: (step) => failures.inc({ step }),
    onSuspension: (what) => suspensions.inc({ what }),
    onKeyChange: (change, role) => keyChanges.inc({ change, role }),
    onRun: (end, elapsedMs) => runs.observe({ end }, elapsedMs / 1000),
    onRefused: (bound) => refusals.inc({ bound }),
    watchBounds: (sources) => watchBounds(sources, registers),
    watch: (sources) => watchLedger(sources, registers),
    watchSandbox: (source) => watchSandbox(source, registers),
    watchTls: (source) => watchTls(source, registers),
    watchLog: (source) => watchLog(source, registers),
    ...createRelayMetrics(registers),
    ...createWitnessMetrics(registers),
    ...textOf(registry),
  };
};

/** Of a process of relays, without a server. */
export const createRelayProcessMetrics = (): RelayMetrics & MetricsText => {
  const registry = new Registry();
  return { ...createRelayMetrics([registry]), ...textOf(registry) };
};

const textOf = (registry: Registry): MetricsText => ({
  contentType: registry.contentType,
  text: async () => (await Promise.all([registry.metrics(), processMetrics().metrics()])).join("\n"),
});
