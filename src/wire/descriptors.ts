/**
 * How many files and sockets the process may have open, and how they are shared out: what the ledger, the sandbox and
 * the files of keys need is kept, connections get the rest. Source: proc(5); LevelDB, util/env_posix.cc.
 */
import { readdirSync, readFileSync } from "node:fs";
import {
  connectionsMin,
  descriptorsKept,
  descriptorsPerSandbox,
  operatorConnectionsMax,
  operatorConnectionsMin,
} from "../limits.ts";

export type Descriptors = { readonly limit: number; readonly open: number };

/** Infinity where the system does not say. */
export const readDescriptors = (): Descriptors => {
  try {
    const [, limit = ""] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === ""
      ? { limit: Number.POSITIVE_INFINITY, open: 0 }
      : { limit: Number(limit), open: readdirSync("/proc/self/fd").length };
  } catch {
    return { limit: Number.POSITIVE_INFINITY, open: 0 };
  }
};

/** LevelDB keeps a fifth of the limit open for tables, once it has more than it maps into memory. */
const tablesShare = 5;

export type Shares = { readonly connections: number; readonly operatorConnections: number };

/** @param wanted connections, however many descriptors there are. Pure. */
export const shareOut = (
  { limit, open }: Descriptors,
  { wanted, sandboxes }: { readonly wanted: number; readonly sandboxes: number },
): Shares => {
  if (!Number.isFinite(limit)) return { connections: wanted, operatorConnections: operatorConnectionsMax };
  const kept = descriptorsKept + sandboxes * descriptorsPerSandbox + Math.floor(limit / tablesShare);
  const free = Math.max(0, limit - open - kept);
  const operatorConnections = Math.min(
    operatorConnectionsMax,
    Math.max(operatorConnectionsMin, Math.floor(free / 8)),
  );
  const connections = Math.min(wanted, Math.max(connectionsMin, free - operatorConnections));
  return { connections, operatorConnections };
};
