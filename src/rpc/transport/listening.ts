/**
 * Listen addresses: checks that an address is free before anything is opened, for a clear error. Removes the socket
 * file of a dead server, never of a live one; a new socket file is created for its owner only, then gets the configured
 * mode.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type ListenOptions } from "node:net";
import { fail } from "../../errors.ts";
import { formatAddress, isUnix, type Address } from "../../config/address.ts";

/** The configuration key that names the address, or the directory of the socket. */
export type ListenKey = "listen" | "http_listen" | "operator_listen" | "data";

/** A local server, or the system for it, answers a connection immediately. */
const probeMsMax = 2000;

/** The system's error code, such as `EADDRINUSE`; grpc-js passes only a message that contains it. */
const codeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "";
  if ("code" in cause && typeof cause.code === "string") return cause.code;
  return /\bE[A-Z]{3,}\b/.exec(cause.message)?.[0] ?? "";
};

/** @throws invalidConfig with the system's error code. */
export const failListening = (key: ListenKey, address: Address, cause: unknown): never => {
  const why = codeOf(cause);
  const rule = `cannot listen on ${formatAddress(address)}${why === "" ? "" : `: ${why}`}`;
  return fail({ kind: "invalidConfig", key, rule }, { cause });
};

export const listenOptions = (address: Address): ListenOptions =>
  isUnix(address) ? { path: address.path } : { host: address.host, port: address.port };

const tryListening = (address: Address): Promise<void> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(listenOptions(address), () => server.close(() => resolve()));
  });

/** Whether a server listens on the socket file. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (isAlive: boolean): void => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.setTimeout(probeMsMax, () => settle(true));
    socket.once("connect", () => settle(true));
    // ECONNREFUSED means that only the file is left. After any other error a server may exist.
    socket.once("error", (cause) => settle(codeOf(cause) !== "ECONNREFUSED"));
  });

/** Removes the socket file of a dead server. @returns whether it did. */
const removeStale = async (path: string): Promise<boolean> => {
  const before = await lstat(path).catch(() => null);
  if (before === null || !before.isSocket() || (await answers(path))) return false;
  // Another server may have replaced the file meanwhile.
  const now = await lstat(path).catch(() => null);
  if (now === null || now.ino !== before.ino || now.ctimeMs !== before.ctimeMs) return false;
  await unlink(path);
  return true;
};

/** @throws invalidConfig if the address cannot be listened on, for example EADDRINUSE. */
export const requireFree = async (key: ListenKey, address: Address): Promise<void> => {
  if (!isUnix(address) && address.port === 0) return;
  try {
    await tryListening(address);
  } catch (cause) {
    if (!isUnix(address) || codeOf(cause) !== "EADDRINUSE") return failListening(key, address, cause);
    if (!(await removeStale(address.path))) return failListening(key, address, cause);
    await tryListening(address).catch((again: unknown) => failListening(key, address, again));
  }
};

/** Sets the configured mode of the socket file, which was created for its owner only. */
export const openSocketFile = async (address: Address, mode: number): Promise<void> => {
  if (isUnix(address)) await chmod(address.path, mode);
};
