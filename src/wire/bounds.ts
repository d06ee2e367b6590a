/** Limits per caller, per tenant and overall, built from the configuration and reported in the metrics. */
import { randomUUID } from "node:crypto";
import type { Config } from "../config/config.ts";
import { readDescriptors, shareOut, type Shares } from "./descriptors.ts";
import type { Metrics } from "../gateway/metrics.ts";
import {
  descriptorsPerRelay,
  operatorConnectionsPerPeerMax,
  operatorRequestMsMax,
  operatorSilentMsMax,
  streamsForRoot,
  uploadsForRoot,
  uploadsMax,
  uploadsPerCallerMax,
  uploadsPerTenantMax,
} from "../limits.ts";
import { Connections } from "../rpc/bounds/connections.ts";
import type { Log } from "../rpc/call/environment.ts";
import { Intake } from "../rpc/bounds/intake.ts";
import { Pacing } from "../rpc/call/pacing.ts";
import { Places } from "../rpc/bounds/places.ts";
import { Replies } from "../rpc/bounds/replies.ts";

export type Bounds = {
  readonly connections: Connections;
  readonly operatorConnections: Connections;
  readonly intake: Intake;
  readonly pacing: Pacing;
  readonly replies: Replies;
  readonly streams: Places;
  readonly uploads: Places;
};

/** @param shares of the available file descriptors. */
export const createBounds = (
  config: Config,
  metrics: Pick<Metrics, "onRefused" | "watchBounds">,
  shares: Shares,
): Bounds => {
  const nowMs = (): number => performance.now();
  const intake = new Intake({
    messageBytesMax: config.message_bytes_max,
    bytesMax: config.intake_bytes_max,
    bytesPerConnectionMax: config.intake_bytes_per_connection_max,
    newId: randomUUID,
    onRefused: metrics.onRefused,
  });
  const replies = new Replies(
    {
      messageBytesMax: config.message_bytes_max,
      bytesMax: config.reply_bytes_max,
      bytesPerCallerMax: config.reply_bytes_per_caller_max,
    },
    nowMs,
  );
  const streams = new Places({
    what: "streams",
    perCallerMax: config.streams_per_caller_max,
    perTenantMax: config.streams_per_tenant_max,
    max: config.streams_max,
    forRoot: Math.min(streamsForRoot, config.streams_max - 1),
    reasons: { caller: "STREAMS_PER_CALLER", tenant: "STREAMS_PER_TENANT", all: "STREAMS" },
  });
  const uploads = new Places({
    what: "uploads",
    perCallerMax: uploadsPerCallerMax,
    perTenantMax: uploadsPerTenantMax,
    max: uploadsMax,
    forRoot: uploadsForRoot,
    reasons: { caller: "UPLOADS_PER_CALLER", tenant: "UPLOADS_PER_TENANT", all: "UPLOADS" },
  });
  const connections = new Connections({
    max: shares.connections,
    perPeerMax: Math.min(config.connections_per_peer_max, Math.ceil(shares.connections / 2)),
    silentMs: config.connection_silent_ms,
    idleMs: config.connection_idle_ms,
    nowMs,
    onRefused: metrics.onRefused,
  });
  const operatorConnections = new Connections({
    max: shares.operatorConnections,
    perPeerMax: Math.min(operatorConnectionsPerPeerMax, Math.ceil(shares.operatorConnections / 2)),
    silentMs: operatorSilentMsMax,
    idleMs: operatorRequestMsMax,
    nowMs,
    onRefused: (bound) => metrics.onRefused(`OPERATOR_${bound}`),
  });
  metrics.watchBounds({
    sigil_connections: () => connections.count,
    sigil_intake_bytes: () => intake.budget.bytesUsed,
    sigil_intake_waiting: () => intake.budget.waiting,
    sigil_reply_bytes: () => replies.budget.bytesUsed,
    sigil_reply_waiting: () => replies.budget.waiting,
    sigil_streams: () => streams.taken,
  });
  const pacing = new Pacing(nowMs);
  return { connections, operatorConnections, intake, pacing, replies, streams, uploads };
};

/** A webhook's requests in flight have a socket each. */
const descriptorsOf = (relays: Config["relays"]): number =>
  relays.reduce(
    (sum, { target }) => sum + (target.kind === "webhook" ? target.parallel : descriptorsPerRelay),
    0,
  );

/** Builds the limits from the file descriptors left after the ledger was opened. */
export const openBounds = (
  config: Config,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): Bounds => {
  const descriptors = readDescriptors();
  const wanted = {
    wanted: config.connections_max,
    sandboxes: config.module_processes,
    relays: descriptorsOf(config.relays),
  };
  const shares = shareOut(descriptors, wanted);
  const fields = { descriptors: descriptors.limit, connections: shares.connections };
  if (shares.connections === config.connections_max) log.info(fields, "limits");
  else {
    const what = "few descriptors: fewer connections than connections_max; raise the limit of open files";
    log.warn(fields, what);
  }
  return createBounds(config, metrics, shares);
};
