/**
 * Relays in a process of their own: the ledger is that of a server elsewhere, which is passed in. Status and control go
 * through the same socket as in a server, in a directory of the process's own; metrics and health through an operator's
 * port where one is configured.
 */
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DestinationStream, Logger } from "pino";
import type { Config } from "../config/config.ts";
import { fail, SigilFault } from "../errors.ts";
import { createRelayProcessMetrics, type MetricsText } from "../gateway/metrics.ts";
import { startOperator } from "../gateway/operator.ts";
import {
  logFlushMs,
  operatorConnectionsMax,
  operatorConnectionsPerPeerMax,
  operatorRequestMsMax,
  operatorSilentMsMax,
} from "../limits.ts";
import { standardDestination } from "../log/destination.ts";
import { takeLibraryOutput } from "../log/library-output.ts";
import { limitLines } from "../log/limit.ts";
import { createLog } from "../log/log.ts";
import { relaySocket } from "../relay/control.ts";
import { Connections } from "../rpc/bounds/connections.ts";
import { requireFree } from "../rpc/transport/listening.ts";
import { openLevelStore } from "../storage/level.ts";
import type { Store } from "../storage/store.ts";
import { openRelays, type RelayedLedger } from "./relays.ts";
import type { Signalled } from "./signals.ts";

export type RelayProcessOptions = {
  readonly config: Config;
  /** Waits for the server until `signal` aborts. Rejects if it refuses, or does not hold the ledger it should. */
  readonly openLedger: (log: Logger, signal: AbortSignal) => Promise<RelayedLedger & Disposable>;
  /** Replaces standard output. */
  readonly logStream?: DestinationStream;
};

export type RelayProcess = AsyncDisposable &
  Signalled & {
    /** Undefined if metrics and health are not served. */
    readonly operatorUrl: string | undefined;
    /** Resolves when the relays have started, or were closed. @throws what `openLedger` throws; invalidConfig. */
    readonly started: Promise<void>;
  };

/** Within the data directory: an empty database, opened for the lock that a server's ledger has as well. */
const lockDirectory = "lock";

/**
 * A server's data directory has a socket of the same name, and a lock of its own. Of several processes that start in
 * one directory at once, one goes on. @throws invalidConfig.
 */
const lockOwnDirectory = async (data: string): Promise<Store> => {
  await mkdir(data, { recursive: true, mode: 0o700 });
  const isDeployment = await stat(join(data, "deployment.json")).then(
    () => true,
    () => false,
  );
  if (isDeployment) {
    const rule = `${data} is the data directory of a deployment: give relays in a process of their own another one`;
    fail({ kind: "invalidConfig", key: "data", rule });
  }
  await requireFree("data", { path: join(data, relaySocket) });
  try {
    return await openLevelStore(join(data, lockDirectory));
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "storeLocked") throw cause;
    const rule = `${data} is in use by another process of relays`;
    return fail({ kind: "invalidConfig", key: "data", rule }, { cause });
  }
};

const serveOperator = async (
  { sources, operator_listen: address, socket_mode: socketMode }: Config,
  metrics: MetricsText,
  whyNotReady: () => string | null,
  onError: (error: unknown) => void,
) => {
  if (sources.operator_listen.kind === "default") return undefined;
  await requireFree("operator_listen", address);
  const connections = new Connections({
    max: operatorConnectionsMax,
    perPeerMax: operatorConnectionsPerPeerMax,
    silentMs: operatorSilentMsMax,
    idleMs: operatorRequestMsMax,
    nowMs: () => performance.now(),
    onRefused: () => {},
  });
  return startOperator({ address, socketMode, metrics, whyNotReady, notes: () => [], connections, onError });
};

/**
 * @throws invalidConfig if it cannot listen, or the directory is a server's or in use; everything opened is closed
 * again.
 */
export const startRelayProcess = async (options: RelayProcessOptions): Promise<RelayProcess> => {
  const { config, openLedger, logStream } = options;
  const standard = standardDestination();
  const log = createLog({ level: config.log_level, stream: logStream ?? standard });
  const limited = limitLines(log, () => performance.now());
  const metrics = createRelayProcessMetrics();
  const stopping = new AbortController();
  let state: "waiting" | "started" = "waiting";
  const whyNotReady = (): string | null => {
    if (stopping.signal.aborted) return "stopping";
    return state === "started" ? null : "the server has not answered yet";
  };
  await using opened = new AsyncDisposableStack();
  const flushLog = (): Promise<void> => standard.flush(logFlushMs);
  opened.defer(flushLog);
  opened.use(takeLibraryOutput(limited, logStream === undefined ? "console" : "libraries"));
  const lock = await lockOwnDirectory(config.data);
  opened.defer(() => lock.close());
  const onError = (error: unknown): void => limited.error({ err: error }, "operator's port");
  const operator = await serveOperator(config, metrics, whyNotReady, onError);
  if (operator !== undefined) opened.defer(() => operator.close());
  const relays = opened.use(new AsyncDisposableStack());
  const start = async (): Promise<void> => {
    const ledger = relays.use(await openLedger(log, stopping.signal));
    if (stopping.signal.aborted) return;
    relays.use(await openRelays(ledger, config, { log, metrics }));
    state = "started";
    const names = config.relays.map(({ name }) => name);
    log.info({ relays: names, records: String(ledger.size()) }, "relaying");
  };
  const starting = start();
  const started = starting.catch((error: unknown) => {
    // What a stop interrupts is no failure.
    if (!stopping.signal.aborted) throw error;
  });
  const running = opened.move();
  const closeAll = async (): Promise<void> => {
    stopping.abort();
    log.info("stopping: batches under way are finished");
    await starting.catch(() => {});
    await running.disposeAsync();
    log.info("stopped");
    await flushLog();
  };
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll());
  return {
    operatorUrl: operator?.url,
    started,
    log,
    close,
    skipDelay: () => false,
    reload: async () => log.info("nothing to read again: tokens and secrets are read at each use"),
    [Symbol.asyncDispose]: close,
  };
};
