/**
 * The file descriptor budget: reserves what the ledger, the sandbox, relays and key files need; connections get the
 * rest. Source: proc(5); LevelDB, util/env_posix.cc.
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

/** Infinity if the system does not tell. */
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

/** LevelDB uses up to a fifth of the limit for tables, once it has more than it maps into memory. */
const tablesShare = 5;

export type Shares = { readonly connections: number; readonly operatorConnections: number };

export type Wanted = {
  /** The configured number of connections. */
  readonly wanted: number;
  readonly sandboxes: number;
  /** Descriptors of all relays. */
  readonly relays: number;
};

/** Pure. */
export const shareOut = ({ limit, open }: Descriptors, { wanted, sandboxes, relays }: Wanted): Shares => {
  if (!Number.isFinite(limit)) return { connections: wanted, operatorConnections: operatorConnectionsMax };
  const kept = descriptorsKept + sandboxes * descriptorsPerSandbox + relays + Math.floor(limit / tablesShare);
  const free = Math.max(0, limit - open - kept);
  const operatorConnections = Math.min(
    operatorConnectionsMax,
    Math.max(operatorConnectionsMin, Math.floor(free / 8)),
  );
  const connections = Math.min(wanted, Math.max(connectionsMin, free - operatorConnections));
  return { connections, operatorConnections };
};
