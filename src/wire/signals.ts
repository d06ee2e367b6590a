/**
 * Signal handling: SIGTERM and SIGINT stop the server, SIGHUP reloads certificates. Each further stop signal escalates:
 * the first skips the drain delay, the next ends the process.
 */
import { isatty } from "node:tty";
import type { RunningServer } from "./server.ts";

/** What signals reach: a server, or a process of relays. */
export type Signalled = Pick<RunningServer, "log" | "close" | "skipDelay" | "reload">;

const stopSignals = ["SIGTERM", "SIGINT"] as const;
const standardStreams = [0, 1, 2] as const;

/** Whether the controlling terminal is gone: then SIGHUP means that the user has hung up. */
const watchTerminal = (): (() => boolean) => {
  const terminals = standardStreams.filter((descriptor) => isatty(descriptor));
  return () => terminals.length > 0 && terminals.every((descriptor) => !isatty(descriptor));
};

/**
 * Resolves with the signal that stopped the server, once it has stopped. Listens immediately, also while the server is
 * starting, since it may be signalled as soon as it logs that it serves.
 */
export const closeOnSignal = (starting: Signalled | Promise<Signalled>): Promise<NodeJS.Signals> =>
  new Promise((resolve, reject) => {
    const isTerminalGone = watchTerminal();
    let server: Signalled | undefined;
    let isStopping = false;
    const forget = (): void => {
      for (const name of stopSignals) process.off(name, onStop);
      process.off("SIGHUP", onHangUp);
    };
    const stop = async (signal: NodeJS.Signals): Promise<void> => {
      const running = await starting;
      running.log.info({ signal }, "signal");
      await running.close();
    };
    const onStop = (signal: NodeJS.Signals): void => {
      if (isStopping && server !== undefined && server.skipDelay()) return;
      if (isStopping) {
        // Without a handler the signal kills the process; the ledger is crash safe.
        forget();
        process.kill(process.pid, signal);
        return;
      }
      isStopping = true;
      stop(signal)
        .finally(forget)
        .then(() => resolve(signal), reject);
    };
    const onHangUp = (signal: NodeJS.Signals): void => {
      if (isTerminalGone()) {
        if (!isStopping) onStop(signal);
        return;
      }
      Promise.resolve(starting).then(
        ({ reload }) => reload(),
        () => {},
      );
    };
    for (const name of stopSignals) process.on(name, onStop);
    process.on("SIGHUP", onHangUp);
    // The caller reports a failed start.
    Promise.resolve(starting).then((running) => (server = running), forget);
  });
