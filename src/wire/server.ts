/**
 * The server: configuration → open the deployment → wire the services → serve → drain and close. The composition root.
 * `overrides` replaces dependencies (store, clock, randomness, evaluator, log) for tests and experiments.
 */
import { randomUUID } from "node:crypto";
import type { DestinationStream, Logger } from "pino";
import { AuthorizationService } from "@sigil/proto/envoy/service/auth/v3/external_auth";
import { AuditServiceService } from "@sigil/proto/sigil/audit/v1/audit";
import { BackupServiceService } from "@sigil/proto/sigil/backup/v1/backup";
import { CanonServiceService } from "@sigil/proto/sigil/canon/v1/canon";
import { WitnessServiceService } from "@sigil/proto/sigil/canon/v1/witness";
import { PrincipalServiceService } from "@sigil/proto/sigil/identity/v1/principal";
import { KeyServiceService } from "@sigil/proto/sigil/key/v1/key";
import { ModuleServiceService } from "@sigil/proto/sigil/module/v1/module";
import { TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";
import { openChain } from "../audit/chain.ts";
import type { QuorumService, RecordsService } from "../canon/service.ts";
import type { Config } from "../config/config.ts";
import { describeForBackup } from "../deployment/copy.ts";
import { openDeployment } from "../deployment/open.ts";
import { createMetrics, type Metrics } from "../gateway/metrics.ts";
import type { Services } from "../gateway/http/serving.ts";
import { startOperator, type OperatorServer } from "../gateway/operator.ts";
import { authorize } from "../identity/permissions.ts";
import { createPrincipals, type Principals } from "../identity/principals.ts";
import { createIdentityResolver } from "../identity/resolver.ts";
import type { KekInputs } from "../crypto/kek.ts";
import { randomBytes } from "../crypto/random.ts";
import { wireAudit } from "./audit.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { takeLibraryOutput } from "../log/library-output.ts";
import { createLog } from "../log/log.ts";
import { standardDestination } from "../log/destination.ts";
import { limitLines } from "../log/limit.ts";
import { CodeFiles } from "../modules/code-files.ts";
import type { Sandbox } from "../modules/sandbox/run.ts";
import { createSandbox } from "../modules/sandbox/pool.ts";
import type { ModuleService } from "../modules/service.ts";
import { createBackupService } from "../deployment/backup/backup.ts";
import { boundServerHeap } from "../deployment/backup/small-heap.ts";
import { createKeyService, type KeyService } from "../deployment/keys.ts";
import { utf8Encode } from "@sigil/core/bytes";
import { rateRefillEntriesMax, logFlushMs } from "../limits.ts";
import { fail } from "../errors.ts";
import { formatAddress } from "../config/address.ts";
import { auditHandlers } from "../rpc/audit/audit.ts";
import { backupHandlers } from "../rpc/backup/backup.ts";
import { canonHandlers } from "../rpc/canon/canon.ts";
import type { Log, RpcEnvironment } from "../rpc/call/environment.ts";
import { envoyHandlers } from "../rpc/envoy/envoy.ts";
import { createHealth, type Health } from "../rpc/transport/health.ts";
import { keyHandlers } from "../rpc/key/key.ts";
import { moduleHandlers } from "../rpc/module/module.ts";
import { requireFree } from "../rpc/transport/listening.ts";
import { principalHandlers } from "../rpc/principal/principal.ts";
import { readTls } from "../rpc/transport/tls-files.ts";
import { TlsRenewal } from "../rpc/transport/tls-renewal.ts";
import { trustHandlers } from "../rpc/trust/trust.ts";
import { CallsUnderWay } from "../rpc/call/underway.ts";
import { witnessHandlers } from "../rpc/canon/witness.ts";
import { openBounds, type Bounds } from "./bounds.ts";
import { observeLedger, wireInspections } from "./ledger.ts";
import { coverModules } from "./commit-policy.ts";
import { withCodeCheck, wireModules } from "./modules.ts";
import { serviceNames, wireAnswers } from "./services.ts";
import { servePorts, type Ports } from "./ports.ts";
import { openRelays, relayedLedger } from "./relays.ts";
import { Stopping } from "./stopping.ts";
import { openWitnesses, type Witnesses } from "./witnesses.ts";
import type { Store } from "../storage/store.ts";
import type { Evaluate } from "../trust/evaluator.ts";
import { evaluate } from "@sigil/core/model";
import { createDecisionIds } from "../trust/decision-id.ts";
import { createTrustService, type TrustService } from "../trust/service.ts";

export type Overrides = {
  readonly openStore?: () => Promise<Store>;
  /** Milliseconds since 1970, and monotonic microseconds for durations. */
  readonly clock?: { readonly nowMs: () => number; readonly nowUs?: () => number };
  readonly randomBytes?: (bytes: number) => Uint8Array;
  readonly evaluate?: Evaluate;
  /** Replaces the pool of processes that runs modules. */
  readonly sandbox?: Sandbox;
  /** Replaces standard output. */
  readonly logStream?: DestinationStream;
  /** Whether the server owns the process: console output is then redirected to the log. */
  readonly ownsProcess?: boolean;
  readonly kekInputs?: KekInputs;
};

export type ServerOptions = { readonly config: Config; readonly overrides?: Overrides };

export type RunningServer = AsyncDisposable & {
  /** The gRPC address, for clients. */
  readonly target: string;
  readonly operatorUrl: string;
  /** Null if HTTP is off. */
  readonly httpUrl: string | null;
  readonly ledger: Ledger;
  readonly log: Logger;
  /** Reloads certificates and client authorities, if there are any. Never throws. */
  readonly reload: () => Promise<void>;
  /**
   * Idempotent: keeps serving for `drain_delay_ms` while health reports NOT_SERVING, drains, then closes the ledger.
   */
  readonly close: () => Promise<void>;
  /** Ends that delay early. @returns whether it was in progress. */
  readonly skipDelay: () => boolean;
};

/** The parts opened so far; all are closed if a later step fails. */
type Parts = {
  readonly log: Logger;
  /** The same log, rate limited, for lines that callers and libraries can cause. */
  readonly limited: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly underWay: CallsUnderWay;
  readonly stopping: Stopping;
  /** Degraded functions of a ready server, for /readyz. */
  readonly notes: string[];
};

const kekInputsOf = (config: Config): KekInputs => ({
  env: process.env,
  modulePath: config["pkcs11.module"] === "" ? undefined : config["pkcs11.module"],
  askPassphrase: async () => {
    if (config.passphrase !== "") return utf8Encode(config.passphrase);
    return fail({ kind: "keyUnavailable", rule: "the deployment has a passphrase; set SIGIL_PASSPHRASE" });
  },
});

/** Tenants named in one log line. */
const tenantsNamedMax = 20;

/** Microseconds of a monotonic clock. */
const monotonicUs = (): number => performance.now() * 1000;

const wireTrust = (ledger: Ledger, parts: Parts, overrides: Overrides, principals: Principals) =>
  createTrustService({
    ledger,
    findPrincipal: principals.find,
    openChain,
    evaluate: overrides.evaluate ?? evaluate,
    nowMs: overrides.clock?.nowMs ?? Date.now,
    nowUs: overrides.clock?.nowUs ?? monotonicUs,
    randomBytes: overrides.randomBytes ?? randomBytes,
    onDecision: parts.metrics.onVerdict,
    onPartialRates: (tenants) => {
      const read = { entries: rateRefillEntriesMax, tenants: tenants.slice(0, tenantsNamedMax) };
      parts.log.warn(
        read,
        "the rate window holds more decisions than a start reads: rates are low until it has passed",
      );
    },
  });

const wireKeys = (ledger: Ledger, { log, metrics }: Parts): KeyService =>
  createKeyService({
    ledger,
    onChange: ({ kind, role, ...change }) => {
      metrics.onKeyChange(kind, role);
      log.warn({ role, ...change }, `key ${kind}`);
    },
  });

const sandboxSizes = (config: Config) => ({
  processes: config.module_processes,
  processesWarm: config.module_processes_warm,
  runsMax: config.module_runs_max,
  runsPerTenantMax: config.module_runs_per_tenant_max,
  memoryPagesMax: config.module_memory_pages_max,
});

/** The sandbox and its runs end after the calls and before the ledger. */
const openModules = async (
  { config, overrides, parts, ledger, opened }: Opening,
  { trust, records, quorum }: { trust: TrustService; records: RecordsService; quorum: QuorumService },
): Promise<ModuleService> => {
  const { log, limited, metrics } = parts;
  const onFault = (cause: unknown): void => limited.error({ err: cause }, "a fault around a run");
  const sandbox = opened.use(
    overrides.sandbox ?? (await createSandbox({ ...sandboxSizes(config), onFault })),
  );
  metrics.watchSandbox(() => sandbox.gauge);
  if (typeof sandbox.whyUnavailable === "string") {
    log.error({ rule: sandbox.whyUnavailable }, "modules cannot be run; everything else is served");
    parts.notes.push(`modules cannot be run: ${sandbox.whyUnavailable}`);
  }
  return opened.use(
    wireModules({
      config,
      ledger,
      trust,
      records,
      quorum,
      sandbox,
      files: new CodeFiles(config.data),
      randomBytes: overrides.randomBytes ?? randomBytes,
      newId: createDecisionIds(overrides.randomBytes ?? randomBytes),
      nowMs: overrides.clock?.nowMs ?? Date.now,
      monotonicMs: () => performance.now(),
      onRun: metrics.onRun,
      isStopping: () => parts.underWay.draining,
      onFault,
    }),
  );
};

/** State of the start, passed from step to step. */
type Opening = {
  readonly config: Config;
  readonly ledger: Ledger;
  readonly parts: Parts;
  readonly overrides: Overrides;
  readonly bounds: Bounds;
  readonly witnesses: Witnesses | undefined;
  /** Closed in reverse order. */
  readonly opened: AsyncDisposableStack;
};

const envoyService = (config: Config, trust: TrustService, rpc: RpcEnvironment) => {
  const mapping = { subject: config["envoy.subject"], targetPrefix: config["envoy.target_prefix"] };
  return [AuthorizationService, envoyHandlers(trust, mapping, rpc)] as const;
};

const openPorts = async (opening: Opening, tls: TlsRenewal | null): Promise<Ports> => {
  const { config, ledger, parts, overrides, bounds } = opening;
  const { limited, metrics, health, underWay } = parts;
  const nowMs = overrides.clock?.nowMs ?? Date.now;
  const principals = createPrincipals(ledger);
  const { anonymous } = config;
  const { identify } = createIdentityResolver({ principals, origin: ledger.reader.origin, nowMs, anonymous });
  const rpc: RpcEnvironment = {
    trustDomain: ledger.reader.origin,
    identify,
    authorize,
    deadlines: { deadlineMsDefault: config.deadline_default_ms, deadlineMsMax: config.deadline_max_ms },
    slowCallMs: config.slow_call_ms,
    readsCertificates: config["tls.client_ca"] !== "",
    replyBytesMax: config.message_bytes_max,
    underWay,
    pacing: bounds.pacing,
    connections: bounds.connections,
    replies: bounds.replies,
    streams: bounds.streams,
    uploads: bounds.uploads,
    observer: metrics,
    log: limited,
    newId: randomUUID,
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
  };
  const deciding = await wireTrust(ledger, parts, overrides, principals);
  const cover = opening.witnesses?.cover;
  const { trust, records, quorum, directory, close } = await wireAnswers({
    ledger,
    trust: deciding,
    principals,
    nowMs,
    randomBytes: overrides.randomBytes ?? randomBytes,
    log: parts.log,
    metrics,
    takesCertificates: rpc.readsCertificates,
    cover,
  });
  opening.opened.defer(close);
  const modules = coverModules(await openModules(opening, { trust, records, quorum }), cover);
  const backups = createBackupService({ ledger, describe: () => describeForBackup(config.data) });
  const inspections = opening.opened.use(wireInspections(ledger, config.data, parts.log));
  const audit = wireAudit(opening, principals, nowMs);
  const services: Services = [
    [TrustServiceService, trustHandlers(trust, quorum, audit.audit, rpc)],
    [AuditServiceService, auditHandlers(audit, rpc)],
    [CanonServiceService, canonHandlers(records, withCodeCheck(quorum, modules), audit.audit, rpc)],
    [WitnessServiceService, witnessHandlers(quorum, rpc)],
    [PrincipalServiceService, principalHandlers(directory, rpc)],
    [KeyServiceService, keyHandlers(wireKeys(ledger, parts), rpc)],
    [ModuleServiceService, moduleHandlers(modules, rpc)],
    [BackupServiceService, backupHandlers(backups, inspections, rpc)],
    ...(config["envoy.ext_authz"] ? [envoyService(config, trust, rpc)] : []),
  ];
  return servePorts({ config, bounds, tls, rpc, services, health });
};

const whyNotReady = (ledger: Ledger, stopping: Stopping): string | null => {
  if (stopping.isAnnounced) return "stopping";
  return ledger.status.kind === "serving" ? null : `ledger is ${ledger.status.kind}`;
};

const serveOperator = (
  config: Config,
  ledger: Ledger,
  parts: Parts,
  { operatorConnections }: Bounds,
  witnesses: Witnesses | undefined,
): Promise<OperatorServer> => {
  const { limited, metrics, stopping } = parts;
  metrics.watch({
    queue: () => ledger.gauge,
    ledgerSize: () => ledger.reader.size,
    isServing: () => ledger.status.kind === "serving",
  });
  return startOperator({
    address: config.operator_listen,
    socketMode: config.socket_mode,
    metrics,
    whyNotReady: () => whyNotReady(ledger, stopping),
    notes: () => [...parts.notes, ...(witnesses?.notes() ?? [])],
    connections: operatorConnections,
    onError: (error) => limited.error({ err: error }, "operator's port"),
  });
};

/** @returns null if TLS is not configured. @throws invalidConfig. */
const openTls = async (config: Config, { log, metrics }: Parts): Promise<TlsRenewal | null> => {
  const paths = {
    cert: config["tls.cert"],
    key: config["tls.key"],
    clientCa: config["tls.client_ca"],
    clientCertificate: config["tls.client_certificate"],
  };
  const set = await readTls(paths);
  if (set === null) return null;
  const tls = new TlsRenewal({
    paths,
    set,
    log,
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
  });
  metrics.watchTls(() => tls.facts);
  return tls;
};

const standardStream = async (): Promise<DestinationStream> => {
  const stream = standardDestination();
  return process.stdout.isTTY ? (await import("../log/pretty.ts")).forPeople(stream) : stream;
};

/**
 * Files are created by the process's umask, which must be 0077, or the next start refuses them.
 * @throws invalidConfig, and whatever opening the deployment throws; everything opened is closed again.
 */
export const startServer = async ({ config, overrides = {} }: ServerOptions): Promise<RunningServer> => {
  const standard = overrides.logStream === undefined ? standardDestination() : undefined;
  const log = createLog({
    level: config.log_level,
    stream: overrides.logStream ?? (await standardStream()),
  });
  const limited = limitLines(log, () => performance.now());
  const health = createHealth(serviceNames);
  const parts: Parts = {
    log,
    limited,
    metrics: createMetrics(),
    health,
    underWay: new CallsUnderWay(),
    stopping: new Stopping(),
    notes: [],
  };
  if (standard !== undefined) parts.metrics.watchLog(() => standard.gauge);
  if (config.passedOver.length > 0) {
    log.debug({ variables: config.passedOver }, "variables of Kubernetes Services passed over");
  }
  await using opened = new AsyncDisposableStack();
  const flushLog = async (): Promise<void> => standard?.flush(logFlushMs);
  opened.defer(flushLog);
  opened.use(takeLibraryOutput(limited, overrides.ownsProcess === true ? "console" : "libraries"));
  if (overrides.ownsProcess === true) opened.use(boundServerHeap());
  // Check certificates and addresses before anything is opened.
  const tls = opened.use(await openTls(config, parts));
  await requireFree("listen", config.listen);
  if (config.http_listen !== null) await requireFree("http_listen", config.http_listen);
  await requireFree("operator_listen", config.operator_listen);
  const ledger = opened.use(
    await openDeployment({
      directory: config.data,
      kekInputs: {
        ...(overrides.kekInputs ?? kekInputsOf(config)),
        onShared: (shared) => log.warn(shared, "accepted: open to a group that this process is in"),
      },
      nowMs: overrides.clock?.nowMs ?? Date.now,
      observe: observeLedger(parts),
      mldsa44: config.checkpoint_mldsa44,
      ...(overrides.openStore === undefined ? {} : { openStore: overrides.openStore }),
    }),
  );
  const witnesses = await openWitnesses(ledger.reader, config, parts);
  if (witnesses !== undefined) opened.use(witnesses);
  const bounds = openBounds(config, parts);
  const operator = opened.adopt(await serveOperator(config, ledger, parts, bounds, witnesses), (server) =>
    server.close(),
  );
  const { rpc, http } = opened.adopt(
    await openPorts({ config, ledger, parts, overrides, bounds, witnesses, opened }, tls),
    (ports) => ports.close(),
  );
  opened.use(await openRelays(relayedLedger(ledger), config, parts));
  if (ledger.status.kind === "serving") parts.health.set("serving");
  const target = formatAddress(rpc.address);
  const httpUrl = http?.url ?? null;
  log.info(
    {
      target,
      operator: operator.url,
      ...(httpUrl === null ? {} : { http: httpUrl }),
      tls: tls !== null,
      records: String(ledger.reader.size),
    },
    "serving",
  );
  const running = opened.move();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll(running, config, parts).then(flushLog));
  const reload = async (): Promise<void> => {
    if (tls === null) log.info("nothing to read again: there are no certificates");
    else await tls.renew("asked");
  };
  const skipDelay = (): boolean => parts.stopping.skipDelay();
  return {
    target,
    operatorUrl: operator.url,
    httpUrl,
    ledger,
    log,
    reload,
    close,
    skipDelay,
    [Symbol.asyncDispose]: close,
  };
};

const closeAll = async (
  running: AsyncDisposableStack,
  { drain_delay_ms: delayMs }: Config,
  { log, health, stopping }: Parts,
): Promise<void> => {
  health.set("notServing");
  if (delayMs > 0) log.info({ delayMs }, "stopping: serving on while health says NOT_SERVING");
  await stopping.announce(delayMs);
  log.info("draining");
  await running.disposeAsync();
  log.info("stopped");
};
