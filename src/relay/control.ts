/**
 * Status and control of relays: HTTP over a Unix socket in the data directory, mode 0600. Whoever may connect can stop
 * the server anyway. `GET /relays`, and `POST /relays/NAME/pause`, `resume`, `reset?to=POSITION`,
 * `erase?tenant=TENANT&action=count|erase|purge-old`. Why not an RPC: docs/design/0024-relay.md.
 */
import { chmod, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { relayControlConnectionsMax, relayControlMsMax, relayStoppedShownMax } from "../limits.ts";
import { RelayFault, type StoppedKey } from "./destination.ts";
import type { ErasureRequest } from "./erasure.ts";
import type { Relay } from "./relay.ts";
import type { RelayStatus } from "./relay-status.ts";

/** Socket name within the data directory. */
export const relaySocket = "relay.sock";

export type RelayControl = AsyncDisposable;

/** A status as JSON; 64-bit numbers as decimal text. */
export type RelayReport = Omit<
  RelayStatus,
  "next" | "lag" | "published" | "error" | "stopped" | "progress"
> & {
  readonly next: string;
  readonly lag: string;
  readonly published: string;
  /** Current failure as `kind: rule`, or null. */
  readonly error: string | null;
  /** At most `relayStoppedShownMax` of them. */
  readonly stopped: readonly (Omit<StoppedKey, "position"> & { readonly position: string })[];
  readonly stopped_keys: number;
  /** Of an erasure under way. */
  readonly progress: string | null;
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
  progress: status.progress ?? null,
});

type Reply = { readonly status: number; readonly body: unknown };

const refuse = (status: number, rule: string): Reply => ({ status, body: { rule } });

const erasureActions: ReadonlyMap<string, ErasureRequest["action"]> = new Map([
  ["count", "count"],
  ["erase", "erase"],
  ["purge-old", "purge old"],
]);

/** Answered when it is over; `GET /relays` shows the progress. */
const erase = async (relay: Relay, query: URLSearchParams, { isErased }: ControlOptions): Promise<Reply> => {
  const [tenant, action] = [query.get("tenant") ?? "", erasureActions.get(query.get("action") ?? "")];
  if (action === undefined) return refuse(400, "action must be count, erase or purge-old");
  if (!(await isErased(tenant, relay.status.name))) {
    const rule = `the ledger has no record erased/${tenant}: a relay takes back what it published of a tenant only once the ledger has erased it`;
    return refuse(409, rule);
  }
  return { status: 200, body: await relay.erase({ tenant, action }) };
};

const steer = async (
  relay: Relay,
  verb: string,
  query: URLSearchParams,
  options: ControlOptions,
): Promise<Reply> => {
  const size = options.size();
  switch (verb) {
    case "pause":
      await relay.pause();
      break;
    case "resume":
      await relay.resume();
      break;
    case "erase":
      return erase(relay, query, options);
    case "reset": {
      const to = query.get("to");
      const position = to !== null && /^\d{1,20}$/.test(to) ? BigInt(to) : undefined;
      if (position === undefined || position > size)
        return refuse(400, `to must be a position from 0 to ${size}`);
      await relay.reset(position);
      break;
    }
    default:
      return refuse(404, "pause, resume, reset, erase");
  }
  return { status: 200, body: reportOf(relay.status) };
};

const replyTo = async (request: IncomingMessage, options: ControlOptions): Promise<Reply> => {
  const { relays } = options;
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
  return steer(relay, verb ?? "", url.searchParams, options);
};

const answer = (response: ServerResponse, { status, body }: Reply): void => {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(text);
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
  /** Whether the ledger has the record that a tenant is erased. @throws RelayFault if it cannot be asked. */
  readonly isErased: (tenant: string, relay: string) => Promise<boolean>;
  readonly onFault: (cause: unknown) => void;
};

/** @throws the listen error of node:net. */
export const openRelayControl = async (options: ControlOptions): Promise<RelayControl> => {
  const { path, onFault } = options;
  const server = createServer({ requestTimeout: relayControlMsMax }, (request, response) => {
    replyTo(request, options)
      .then((reply) => answer(response, reply))
      .catch((cause: unknown) => {
        if (cause instanceof RelayFault) return answer(response, refuse(409, cause.error.rule));
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
