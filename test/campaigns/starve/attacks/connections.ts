/** Silent connections: to the gRPC port, until file descriptors run out, and to the operator's port. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Attack } from "../attack.ts";
import { pause } from "../wire.ts";

const idleConnections = 250;
const silentConnections = 64;
const holdMs = 4000;
const descriptors = 200;
const probeMs = 200;

const dial = (address: string): Socket => {
  const colon = address.lastIndexOf(":");
  return connect(Number(address.slice(colon + 1)), address.slice(0, colon)).on("error", () => {});
};

const idle: Attack["wave"] = async ({ target }) => {
  const sockets = Array.from({ length: idleConnections }, () => dial(target));
  await pause(holdMs);
  const open = sockets.filter(({ destroyed, closed }) => !destroyed && !closed).length;
  for (const socket of sockets) socket.destroy();
  return `${idleConnections} connections, ${open} still open after ${holdMs} ms`;
};

const silent: Attack["wave"] = async ({ operatorUrl }) => {
  const { host } = new URL(operatorUrl);
  const sockets = Array.from({ length: silentConnections }, () => dial(host));
  await Promise.race([Promise.allSettled(sockets.map((socket) => once(socket, "connect"))), pause(probeMs)]);
  let probes = 0;
  const endMs = performance.now() + holdMs;
  while (performance.now() < endMs) {
    const { status } = await fetch(new URL("/healthz", operatorUrl), { signal: AbortSignal.timeout(holdMs) });
    if (status !== 200) throw new Error(`/healthz answers ${status}`);
    probes += 1;
    // Reconnect closed connections.
    for (const [index, socket] of sockets.entries()) if (socket.closed) sockets[index] = dial(host);
    await pause(probeMs);
  }
  for (const socket of sockets) socket.destroy();
  return `${silentConnections} silent connections, renewed, ${probes} probes answered`;
};

export const connections: readonly Attack[] = [
  {
    name: "idle-connections",
    what: "250 idle connections to a server that may open 200 files",
    descriptors,
    wave: idle,
  },
  { name: "operator-silent", what: "64 silent connections to the operator's port", wave: silent },
];
