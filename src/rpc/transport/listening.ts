/**
 * Taking an address: whether it is free is asked before anything is opened, so that a busy one is one sentence. A Unix
 * socket's file that a dead server left is removed, a live one's never; the file is made for its owner and then opened
 * as far as the configuration says.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type ListenOptions } from "node:net";
import { fail } from "../../errors.ts";
import { formatAddress, isUnix, type Address } from "../../config/address.ts";

export type ListenKey = "listen" | "http_listen" | "operator_listen";

/** A server on this machine answers a connection at once, or the system does for it. */
const probeMsMax = 2000;

/** The system's word, as `EADDRINUSE`; grpc-js hands on the sentence it stands in alone. */
const codeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "";
  if ("code" in cause && typeof cause.code === "string") return cause.code;
  return /\bE[A-Z]{3,}\b/.exec(cause.message)?.[0] ?? "";
};

/** @throws invalidConfig with the system's own word for what is wrong. */
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

/** Whether somebody listens at the other end of the file. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (isAlive: boolean): void => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.setTimeout(probeMsMax, () => settle(true));
    socket.once("connect", () => settle(true));
    // Refused: the file is all that is left. Anything else leaves room for a server.
    socket.once("error", (cause) => settle(codeOf(cause) !== "ECONNREFUSED"));
  });

/** @returns whether the file of a dead server was removed. */
const removeStale = async (path: string): Promise<boolean> => {
  const before = await lstat(path).catch(() => null);
  if (before === null || !before.isSocket() || (await answers(path))) return false;
  // Another one may have done the same meanwhile, and listen there now.
  const now = await lstat(path).catch(() => null);
  if (now === null || now.ino !== before.ino || now.ctimeMs !== before.ctimeMs) return false;
  await unlink(path);
  return true;
};

/** @throws invalidConfig when it cannot be listened on: EADDRINUSE where somebody else does. */
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

/** Opens the socket's file to whom the configuration says; it was made for its owner alone. */
export const openSocketFile = async (address: Address, mode: number): Promise<void> => {
  if (isUnix(address)) await chmod(address.path, mode);
};
