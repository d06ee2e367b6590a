/** A proxy of TCP that cuts connections: each carries so many bytes of answers, and is destroyed. */
import { createConnection, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";

export type CuttingProxy = AsyncDisposable & { readonly target: string; readonly cuts: () => number };

/** @param bytesOf of answers that the connection of that number, from 0, carries; Infinity for all. */
export const startCuttingProxy = async (
  target: string,
  bytesOf: (connection: number) => number,
): Promise<CuttingProxy> => {
  let [connections, cuts] = [0, 0];
  const open = new Set<{ destroy: () => unknown }>();
  const server = createServer((near) => {
    let left = bytesOf(connections);
    connections += 1;
    const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(target) ?? [];
    const far = createConnection({ host, port: Number(port) });
    for (const each of [near, far]) {
      open.add(each);
      each.on("error", () => {});
      each.on("close", () => {
        open.delete(each);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on("data", (chunk: Buffer) => {
      near.write(chunk.subarray(0, Math.min(left, chunk.length)), () => {
        if (left > 0 || near.destroyed) return;
        cuts += 1;
        near.destroy();
      });
      left -= chunk.length;
      if (left <= 0) far.pause();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    target: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      for (const each of open) each.destroy();
      server.close();
      await once(server, "close");
    },
  };
};
