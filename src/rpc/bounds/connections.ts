/**
 * Limits the connections of a listener, so that the ledger keeps the file descriptors it needs. Connections without a
 * call, and idle ones without an authenticated call, time out, and are evicted earlier if a new connection needs a
 * slot: silent ones first, then the longest idle. Authenticated connections are never evicted. Unauthenticated ones are
 * also limited per address.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2Session, ServerHttp2Stream } from "node:http2";
import type { Server, Socket } from "node:net";
import { localPeer, peerOf } from "../../identity/peer.ts";

export type ConnectionBounds = {
  readonly max: number;
  /** Unauthenticated connections per peer. */
  readonly perPeerMax: number;
  /** Timeouts to the first call, and between calls of an unauthenticated connection. */
  readonly silentMs: number;
  readonly idleMs: number;
  readonly nowMs: () => number;
  readonly onRefused: (bound: string) => void;
};

type Connection = {
  readonly socket: Socket;
  readonly peer: string;
  session: Http2Session | undefined;
  /** Time of its opening, or of the end of its last call. */
  quietSinceMs: number;
  calls: number;
  hasCalled: boolean;
  isProved: boolean;
};

/** Time for a session to close after GOAWAY. */
const goodbyeMs = 1000;

const keyOf = ({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">) =>
  remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;

export class Connections {
  readonly #bounds: ConnectionBounds;
  /** Oldest first. */
  readonly #all = new Set<Connection>();
  readonly #byAddress = new Map<string, Connection>();
  readonly #byLine = new WeakMap<object, Connection>();
  readonly #sweep: NodeJS.Timeout;

  constructor(bounds: ConnectionBounds) {
    this.#bounds = bounds;
    this.#sweep = setInterval(() => this.#endQuiet(), Math.min(bounds.silentMs, bounds.idleMs) / 4).unref();
  }

  get count(): number {
    return this.#all.size;
  }

  /** Follows a listener's connections, and its sessions and calls over HTTP/2. */
  watchHttp2(listener: Server): void {
    const entered = new WeakMap<Socket, Connection>();
    // Runs before Node creates the session, which has its own event.
    listener.prependListener("connection", (socket: Socket) => entered.set(socket, this.#enter(socket)));
    listener.on("connection", (socket: Socket) => {
      const connection = entered.get(socket);
      if (connection !== undefined) this.#judge(connection);
    });
    listener.on("session", (session: Http2Session) => {
      const { socket } = session;
      const key = socket === undefined ? undefined : keyOf(socket);
      const connection = key === undefined ? undefined : this.#byAddress.get(key);
      if (connection === undefined) return;
      connection.session = session;
      this.#byLine.set(session, connection);
    });
    listener.on("stream", (stream: ServerHttp2Stream) => {
      const connection = stream.session && this.#byLine.get(stream.session);
      if (connection === undefined || connection.isProved) return;
      this.#begin(connection);
      stream.once("close", () => this.#end(connection));
    });
  }

  /** Follows requests of a listener that also speaks HTTP/1.1. Call it before requests are served. */
  watchHttp1(listener: Server): void {
    listener.on("request", (request: IncomingMessage, response: ServerResponse) => {
      if (request.httpVersionMajor !== 1) return;
      const key = keyOf(request.socket);
      const connection = key === undefined ? undefined : this.#byAddress.get(key);
      if (connection === undefined) return;
      this.#byLine.set(request.socket, connection);
      if (connection.isProved) return;
      this.#begin(connection);
      response.once("close", () => this.#end(connection));
    });
  }

  /** Handles an accepted connection: takes a slot, evicts another for it, or destroys it. */
  admit(socket: Socket): Connection {
    const connection = this.#enter(socket);
    this.#judge(connection);
    return connection;
  }

  #enter(socket: Socket): Connection {
    const peer = peerOf(socket.remoteAddress);
    const connection: Connection = {
      socket,
      peer,
      session: undefined,
      quietSinceMs: this.#bounds.nowMs(),
      calls: 0,
      hasCalled: false,
      // Access to a Unix socket is controlled by the file system.
      isProved: peer === localPeer,
    };
    const key = keyOf(socket);
    this.#all.add(connection);
    if (key !== undefined) this.#byAddress.set(key, connection);
    socket.once("close", () => {
      this.#all.delete(connection);
      if (key !== undefined && this.#byAddress.get(key) === connection) this.#byAddress.delete(key);
    });
    return connection;
  }

  #judge(connection: Connection): void {
    const { max, perPeerMax } = this.#bounds;
    const { peer } = connection;
    const ofPeer = (each: Connection): boolean => !each.isProved && each.peer === peer;
    if (!connection.isProved && this.#countOf(ofPeer) > perPeerMax) {
      this.#makePlace(connection, ofPeer, "CONNECTIONS_PER_PEER");
    } else if (this.#all.size > max) this.#makePlace(connection, () => true, "CONNECTIONS");
  }

  /** Marks a connection as authenticated. @param line its HTTP/2 session or socket. */
  prove(line: object): void {
    const connection = this.#byLine.get(line);
    if (connection !== undefined) connection.isProved = true;
  }

  /** For listeners other than HTTP/2: a request has begun. @returns a function to call at its end. */
  request(connection: Connection): () => void {
    this.#begin(connection);
    return () => this.#end(connection);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const { socket } of this.#all) socket.destroy();
  }

  #countOf(counts: (connection: Connection) => boolean): number {
    let count = 0;
    for (const each of this.#all) if (counts(each)) count += 1;
    return count;
  }

  #begin(connection: Connection): void {
    connection.calls += 1;
    connection.hasCalled = true;
  }

  #end(connection: Connection): void {
    connection.calls -= 1;
    connection.quietSinceMs = this.#bounds.nowMs();
  }

  /** Evicts the least valuable connection, or else the new one. */
  #makePlace(newcomer: Connection, isOne: (connection: Connection) => boolean, bound: string): void {
    let least: Connection | undefined;
    for (const each of this.#all) {
      if (each === newcomer || each.isProved || each.calls > 0 || !isOne(each)) continue;
      if (!each.hasCalled) {
        least = each;
        break;
      }
      if (least === undefined || each.quietSinceMs < least.quietSinceMs) least = each;
    }
    this.#bounds.onRefused(bound);
    this.#breakOff(least ?? newcomer);
  }

  #endQuiet(): void {
    const { silentMs, idleMs, nowMs } = this.#bounds;
    const now = nowMs();
    for (const connection of this.#all) {
      const { isProved, calls, hasCalled, quietSinceMs } = connection;
      if (isProved || calls > 0 || now - quietSinceMs < (hasCalled ? idleMs : silentMs)) continue;
      if (hasCalled) this.#sayGoodbye(connection);
      else this.#breakOff(connection);
    }
  }

  /** Frees its slot immediately, before its socket has closed. */
  #breakOff(connection: Connection): void {
    this.#all.delete(connection);
    connection.socket.destroy();
  }

  /** GOAWAY tells the client that no later call was started. */
  #sayGoodbye({ session, socket }: Connection): void {
    if (session === undefined) {
      socket.destroy();
      return;
    }
    session.close();
    setTimeout(() => socket.destroy(), goodbyeMs).unref();
  }
}
