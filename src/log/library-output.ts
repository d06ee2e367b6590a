/**
 * Redirects output of libraries to the log, redacted and rate limited: grpc-js prints headers in full on standard
 * error, Node prints warnings there, and either could block on it.
 */
import { format } from "node:util";
import { setLogger } from "@grpc/grpc-js";
import { describeCause, strikeOut } from "./log.ts";

type Lines = {
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
};

const consoleMethods = ["log", "info", "debug", "warn", "error", "trace"] as const;
const message = "a library says";

/** Replaces Node's own listener, which prints; restored when the server has ended. */
const takeWarnings = (log: Lines): (() => void) => {
  const before = process.listeners("warning");
  const onWarning = (warning: Error): void => {
    // Of a feature of this Node.js version, which is pinned: no operator can do anything about it.
    if (warning.name === "ExperimentalWarning") return;
    log.warn({ library: "node", err: warning }, message);
  };
  process.removeAllListeners("warning");
  process.on("warning", onWarning);
  return () => {
    process.off("warning", onWarning);
    for (const listener of before) process.on("warning", listener);
  };
};

/** Captures console output in a process owned by the server. */
const takeConsole = (log: Lines): (() => void) => {
  const before = consoleMethods.map((name) => [name, globalThis.console[name]] as const);
  for (const [name] of before) {
    globalThis.console[name] = (...values: readonly unknown[]) =>
      log.info({ library: "console", said: strikeOut(format(...values.map(shown))) }, message);
  }
  return () => {
    for (const [name, method] of before) globalThis.console[name] = method;
  };
};

const shown = (value: unknown): unknown =>
  value instanceof Error ? JSON.stringify(describeCause(value)) : value;

const grpcSays =
  (log: Lines) =>
  (...values: readonly unknown[]): void =>
    log.info({ library: "grpc-js", said: strikeOut(format(...values.map(shown))) }, message);

/** Used by grpc-js if no server redirects its output. */
const silent = (): void => {};

/** @param takes "console" to also capture console output, in a process owned by the server. */
export const takeLibraryOutput = (log: Lines, takes: "console" | "libraries"): Disposable => {
  const say = grpcSays(log);
  setLogger({ error: say, info: say, debug: say });
  const give = [takeWarnings(log), ...(takes === "console" ? [takeConsole(log)] : [])];
  return {
    [Symbol.dispose]: () => {
      setLogger({ error: silent, info: silent, debug: silent });
      for (const back of give) back();
    },
  };
};
