/** A wait that a signal ends. It does not keep the process alive for longer than its call would. */
import { setTimeout as pause } from "node:timers/promises";

/** Resolves after the wait, or when the signal aborts. */
export const waitMs = async (ms: number, signal: AbortSignal): Promise<void> => {
  await pause(ms, undefined, { signal }).catch(() => {});
};
