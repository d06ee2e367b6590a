/** The gRPC and HTTP ports, which share handlers, certificates, connections and limits. Called only by server.ts. */
import type { FileRegistry } from "@bufbuild/protobuf";
import { fail } from "../errors.ts";
import type { Config } from "../config/config.ts";
import { Authzen } from "../gateway/authzen/authzen.ts";
import { readReference } from "../gateway/http/reference.ts";
import { findRoute, readContracts, routesOf } from "../gateway/http/routes.ts";
import { startHttp, type HttpServer } from "../gateway/http/server.ts";
import type { Services } from "../gateway/http/serving.ts";
import { TileFiles } from "../gateway/tiles/tiles.ts";
import { readUi } from "../gateway/ui/ui.ts";
import type { RpcEnvironment } from "../rpc/call/environment.ts";
import { readDescriptors } from "../rpc/transport/descriptors.ts";
import type { Health } from "../rpc/transport/health.ts";
import { startRpcServer, type RpcServer } from "../rpc/transport/server.ts";
import type { TlsRenewal } from "../rpc/transport/tls-renewal.ts";
import type { Bounds } from "./bounds.ts";

export type Ports = {
  readonly rpc: RpcServer;
  /** Null if HTTP is off. */
  readonly http: HttpServer | null;
  /** Closes both concurrently, so that neither accepts calls while the other drains. */
  readonly close: () => Promise<void>;
};

export type PortsOptions = {
  readonly config: Config;
  readonly bounds: Bounds;
  readonly tls: TlsRenewal | null;
  readonly rpc: RpcEnvironment;
  readonly services: Services;
  readonly health: Health;
};

const serveRpc = ({ config, bounds, tls, rpc, services, health }: PortsOptions): Promise<RpcServer> =>
  startRpcServer({
    address: config.listen,
    socketMode: config.socket_mode,
    tls,
    limits: {
      messageBytesMax: config.message_bytes_max,
      concurrentStreamsMax: config.concurrent_streams_max,
      sessionMemoryMiBMax: config.session_memory_mib_max,
      keepaliveMs: config.keepalive_ms,
      keepaliveTimeoutMs: config.keepalive_timeout_ms,
      connectionAgeMs: config.connection_age_ms,
      connectionAgeGraceMs: config.connection_age_grace_ms,
    },
    reflection: config.reflection,
    health,
    intake: bounds.intake,
    connections: bounds.connections,
    pacing: bounds.pacing,
    services,
    underWay: rpc.underWay,
    drainMs: config.drain_ms,
  });

/** @throws invalidConfig where tiles would stand in front of the contracts' routes. */
const requireFreePrefix = ({ tiles, tiles_prefix: prefix }: Config, contracts: FileRegistry): void => {
  if (tiles === "off") return;
  const routes = routesOf(contracts);
  for (const file of ["checkpoint", "tile/0/000"]) {
    if (findRoute(routes, "GET", prefix === "/" ? `/${file}` : `${prefix}/${file}`).kind === "none") continue;
    fail({ kind: "invalidConfig", key: "tiles_prefix", rule: "other routes are below it" });
  }
};

const serveHttp = async ({
  config,
  bounds,
  tls,
  rpc,
  services,
}: PortsOptions): Promise<HttpServer | null> => {
  if (config.http_listen === null) return null;
  const contracts = readContracts(readDescriptors());
  requireFreePrefix(config, contracts);
  return startHttp({
    address: config.http_listen,
    socketMode: config.socket_mode,
    tls,
    hosts: config.http_hosts,
    proxies: config.http_proxies,
    limits: {
      concurrentStreamsMax: config.concurrent_streams_max,
      sessionMemoryMiBMax: config.session_memory_mib_max,
    },
    bytesMax: config.message_bytes_max,
    silentMs: config.connection_silent_ms,
    idleMs: config.connection_idle_ms,
    connections: bounds.connections,
    intake: bounds.intake,
    rpc,
    services,
    contracts,
    protocols: [
      new Authzen({
        rpc,
        services,
        bytesMax: config.message_bytes_max,
        publicUrl: config.public_url,
        names: {
          subjectType: config["authzen.subject_type"],
          resourceType: config["authzen.resource_type"],
          actionPrefix: config["authzen.action_prefix"],
        },
      }),
      ...(config.tiles === "off"
        ? []
        : [
            new TileFiles({
              rpc,
              services,
              prefix: config.tiles_prefix,
              readers: config.tiles,
              checkpointMs: config.tiles_interval_ms,
            }),
          ]),
    ],
    pages: new Map([...readReference(), ...(config.ui ? readUi() : [])]),
    drainMs: config.drain_ms,
  });
};

/** @throws invalidConfig for an address that cannot be listened on; then neither port is served. */
export const servePorts = async (options: PortsOptions): Promise<Ports> => {
  const rpc = await serveRpc(options);
  try {
    const http = await serveHttp(options);
    const close = async (): Promise<void> => {
      await Promise.all([rpc.close(), http?.close()]);
    };
    return { rpc, http, close };
  } catch (error) {
    await rpc.close();
    throw error;
  }
};
