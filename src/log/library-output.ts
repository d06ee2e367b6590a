/**
 * What libraries print goes through the log, with secrets struck out and at the log's pace: grpc-js prints headers in
 * full on standard error, Node prints warnings there, and either would block on it.
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

/** Node's own listener prints; put back when the server has ended. */
const takeWarnings = (log: Lines): (() => void) => {
  const before = process.listeners("warning");
  const onWarning = (warning: Error): void => log.warn({ library: "node", err: warning }, message);
  process.removeAllListeners("warning");
  process.on("warning", onWarning);
  return () => {
    process.off("warning", onWarning);
    for (const listener of before) process.on("warning", listener);
  };
};

/** Whatever is printed by console in a process that is the server's own. */
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

/** grpc-js's own, where no server took it. */
const silent = (): void => {};

/** @param takes "console" in a process that is the server's own, besides what is always taken. */
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
