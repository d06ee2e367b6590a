/**
 * Servers that are away for a while: which failed calls are worth repeating, and repeating them with growing pauses.
 */
import { setTimeout as pause } from "node:timers/promises";
import { SigilError } from "@sigil/client";

/** Whether the same call may succeed later, against the same server. */
export const isAway = ({ codeName }: SigilError): boolean =>
  ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"].includes(codeName);

const pauseMsMin = 250;
const pauseMsMax = 10_000;

export type Patience = {
  /** How long the server may be away before its error is thrown. */
  readonly awayMsMax: number;
  /** Told before each further try. */
  readonly onAway: (error: SigilError) => void;
  readonly signal: AbortSignal;
};

/** Repeats a call that only reads while the server is away. @throws SigilError. */
export const whileAway = async <Answer>(
  call: () => Promise<Answer>,
  { awayMsMax, onAway, signal }: Patience,
): Promise<Answer> => {
  const endMs = performance.now() + awayMsMax;
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      return await call();
    } catch (error) {
      const mayRepeat = error instanceof SigilError && isAway(error) && !signal.aborted;
      if (!mayRepeat || performance.now() + pauseMs > endMs) throw error;
      onAway(error);
      await pause(error.retryDelayMs ?? pauseMs, undefined, { signal });
    }
  }
};
