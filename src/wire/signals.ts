/**
 * What signals do to a server: SIGTERM and SIGINT stop it, SIGHUP has it read its certificates again. Each further
 * signal to stop goes one step on: the wait is cut short, then the process ends.
 */
import { isatty } from "node:tty";
import type { RunningServer } from "./server.ts";

const stopSignals = ["SIGTERM", "SIGINT"] as const;
const standardStreams = [0, 1, 2] as const;

/** A terminal that is gone answers no more questions: its SIGHUP means that whoever was there has left. */
const watchTerminal = (): (() => boolean) => {
  const terminals = standardStreams.filter((descriptor) => isatty(descriptor));
  return () => terminals.length > 0 && terminals.every((descriptor) => !isatty(descriptor));
};

/**
 * Resolves with the signal that stopped the server, when it has stopped. Listens from now on, also while the server is
 * still starting: whoever reads in its log that it serves may signal it in that moment.
 */
export const closeOnSignal = (starting: RunningServer | Promise<RunningServer>): Promise<NodeJS.Signals> =>
  new Promise((resolve, reject) => {
    const isTerminalGone = watchTerminal();
    let server: RunningServer | undefined;
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
      if (isStopping && server !== undefined && server.hurry()) return;
      if (isStopping) {
        // With no handler left, a signal has its usual effect: the ledger loses nothing by it.
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
    // A server that does not start is its starter's to report.
    Promise.resolve(starting).then((running) => (server = running), forget);
  });
