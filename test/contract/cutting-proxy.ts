/**
 * Between a client and a server on 127.0.0.1: breaks every connection at one moment, before a request reaches the
 * server or when its answer is on the way back, and lets nobody through until it is healed.
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
};

type Plan = { readonly piece: number; readonly when: "request" | "answer" };

/** @param delayMs how long each piece takes on its way, in both directions. */
export const startProxy = async (serverPort: number, delayMs = 0): Promise<CuttingProxy> => {
  const pass = (to: Socket, data: Buffer): void => {
    if (delayMs === 0) to.write(data);
    else setTimeout(() => to.write(data), delayMs);
  };
  const sockets = new Set<Socket>();
  let plan: Plan | undefined;
  let pieces = 0;
  let isCut = false;
  let awaitsAnswer = false;
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
      pass(client, data);
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
    [Symbol.asyncDispose]: async () => {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
};
