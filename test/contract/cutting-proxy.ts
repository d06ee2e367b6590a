/**
 * Between a client and a server on 127.0.0.1: breaks every connection at one moment, before a request reaches the
 * server or when its answer is on the way back, and lets nobody through until it is healed; or each connection once it
 * has carried so many bytes of answers.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export type CuttingProxy = AsyncDisposable & {
  readonly port: number;
  /** Breaks what is open now. */
  readonly cut: () => void;
  /**
   * From now on: at the nth piece of data that a client sends, from 1.
   * @param when "request": that piece is lost; "answer": what comes back is.
   */
  readonly cutAt: (piece: number, when: "request" | "answer") => void;
  /** Lets everybody through. @returns whether it had cut. */
  readonly heal: () => boolean;
  /** Connections that were broken for what they had carried. */
  readonly spent: () => number;
};

type Plan = { readonly piece: number; readonly when: "request" | "answer" };

type ProxyOptions = {
  /** How long each piece takes on its way, in both directions. */
  readonly delayMs?: number;
  /** Of answers, that the connection of this number, from 0, carries; by default all. */
  readonly bytesOf?: (connection: number) => number;
};

export const startProxy = async (
  serverPort: number,
  { delayMs = 0, bytesOf = () => Infinity }: ProxyOptions = {},
): Promise<CuttingProxy> => {
  const pass = (to: Socket, data: Buffer): void => {
    if (delayMs === 0) to.write(data);
    else setTimeout(() => to.write(data), delayMs);
  };
  const sockets = new Set<Socket>();
  let plan: Plan | undefined;
  let pieces = 0;
  let isCut = false;
  let awaitsAnswer = false;
  let [connections, spent] = [0, 0];
  const breakAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const cutNow = (): void => {
    isCut = true;
    breakAll();
  };
  const server = createServer((client) => {
    if (isCut) return void client.destroy();
    const upstream = connect(serverPort, "127.0.0.1");
    let left = bytesOf(connections);
    connections += 1;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (data) => {
      pieces += 1;
      if (plan !== undefined && pieces === plan.piece) {
        if (plan.when === "request") return cutNow();
        awaitsAnswer = true;
      }
      pass(upstream, data);
    });
    upstream.on("data", (data) => {
      if (awaitsAnswer) return cutNow();
      if (data.length < left) {
        left -= data.length;
        return pass(client, data);
      }
      upstream.pause();
      client.write(data.subarray(0, left), () => {
        if (client.destroyed) return;
        spent += 1;
        client.destroy();
      });
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    cut: breakAll,
    cutAt: (piece, when) => {
      [plan, pieces, isCut, awaitsAnswer] = [{ piece, when }, 0, false, false];
    },
    heal: () => {
      const had = isCut;
      [plan, isCut, awaitsAnswer] = [undefined, false, false];
      return had;
    },
    spent: () => spent,
    [Symbol.asyncDispose]: async () => {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
};
