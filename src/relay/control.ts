/**
 * Status and control of relays: HTTP over a Unix socket in the data directory, mode 0600. Whoever may connect can stop
 * the server anyway. `GET /relays`, and `POST /relays/NAME/pause`, `resume`, `reset?to=POSITION`. Why not an RPC:
 * docs/design/0024-relay.md.
 */
import { chmod, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { relayControlConnectionsMax, relayControlMsMax, relayStoppedShownMax } from "../limits.ts";
import type { StoppedKey } from "./destination.ts";
import type { Relay, RelayStatus } from "./relay.ts";

/** Socket name within the data directory. */
export const relaySocket = "relay.sock";

export type RelayControl = AsyncDisposable;

/** A status as JSON; 64-bit numbers as decimal text. */
export type RelayReport = Omit<RelayStatus, "next" | "lag" | "published" | "error" | "stopped"> & {
  readonly next: string;
  readonly lag: string;
  readonly published: string;
  /** Current failure as `kind: rule`, or null. */
  readonly error: string | null;
  /** At most `relayStoppedShownMax` of them. */
  readonly stopped: readonly (Omit<StoppedKey, "position"> & { readonly position: string })[];
  readonly stopped_keys: number;
};

const reportOf = (status: RelayStatus): RelayReport => ({
  ...status,
  next: String(status.next),
  lag: String(status.lag),
  published: String(status.published),
  error: status.error === undefined ? null : `${status.error.kind}: ${status.error.rule}`,
  stopped: status.stopped
    .slice(0, relayStoppedShownMax)
    .map((one) => ({ ...one, position: String(one.position) })),
  stopped_keys: status.stopped.length,
});

type Reply = { readonly status: number; readonly body: unknown };

const refuse = (status: number, rule: string): Reply => ({ status, body: { rule } });

const steer = async (relay: Relay, verb: string, to: string | null, size: bigint): Promise<Reply> => {
  switch (verb) {
    case "pause":
      await relay.pause();
      break;
    case "resume":
      await relay.resume();
      break;
    case "reset": {
      const position = to !== null && /^\d{1,20}$/.test(to) ? BigInt(to) : undefined;
      if (position === undefined || position > size)
        return refuse(400, `to must be a position from 0 to ${size}`);
      await relay.reset(position);
      break;
    }
    default:
      return refuse(404, "pause, resume, reset");
  }
  return { status: 200, body: reportOf(relay.status) };
};

const replyTo = async (
  request: IncomingMessage,
  relays: readonly Relay[],
  size: () => bigint,
): Promise<Reply> => {
  const url = new URL(request.url ?? "", "http://sigil");
  const [, first, name, verb, ...more] = url.pathname.split("/");
  if (first !== "relays" || more.length > 0) return refuse(404, "/relays");
  if (name === undefined) return { status: 200, body: relays.map(({ status }) => reportOf(status)) };
  const relay = relays.find(({ status }) => status.name === name);
  if (relay === undefined) {
    const names = relays.map(({ status }) => status.name).join(", ");
    return refuse(404, `there is no relay ${JSON.stringify(name)}; there are: ${names}`);
  }
  if (request.method !== "POST") return refuse(405, "POST");
  return steer(relay, verb ?? "", url.searchParams.get("to"), size());
};

const answer = (response: ServerResponse, { status, body }: Reply): void => {
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
};

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path }, () => {
      server.off("error", reject);
      resolve();
    });
  });

export type ControlOptions = {
  /** The caller holds the data directory's lock, so an existing socket is stale and is replaced. */
  readonly path: string;
  readonly relays: readonly Relay[];
  /** Ledger size in records. */
  readonly size: () => bigint;
  readonly onFault: (cause: unknown) => void;
};

/** @throws the listen error of node:net. */
export const openRelayControl = async (options: ControlOptions): Promise<RelayControl> => {
  const { path, relays, size, onFault } = options;
  const server = createServer({ requestTimeout: relayControlMsMax }, (request, response) => {
    replyTo(request, relays, size)
      .then((reply) => answer(response, reply))
      .catch((cause: unknown) => {
        onFault(cause);
        answer(response, refuse(500, "internal error"));
      });
  });
  server.maxConnections = relayControlConnectionsMax;
  await rm(path, { force: true });
  await listen(server, path);
  await chmod(path, 0o600);
  server.on("error", onFault);
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
