/**
 * Calls that wait for a server longer than one deadline: what only reads is asked again and again while the server is
 * away, each time with a deadline of its own. Bound: one call at a time, for so long as its caller has patience.
 */
import { status as Code } from "@grpc/grpc-js";
import { SigilError } from "../error.ts";
import { waitMs } from "./pause.ts";
import { awayBackOff, backOffMs, failuresCounted } from "./plan.ts";

const away: ReadonlySet<number> = new Set([
  Code.UNAVAILABLE,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
  Code.RESOURCE_EXHAUSTED,
]);

/** Whether the same call may succeed later, against the same server. */
export const isAway = ({ code }: SigilError): boolean => away.has(code);

export type Patience = {
  /** How long the server may be away before its error is thrown, in milliseconds. */
  readonly awayMsMax: number;
  /** Told before each further call. */
  readonly onAway?: (error: SigilError) => void;
  readonly signal?: AbortSignal;
};

const never = new AbortController().signal;

/** @param call only reads, since it may be made twice. @throws SigilError of the last call; whatever else it throws. */
export const whileAway = async <Answer>(
  call: () => Promise<Answer>,
  { awayMsMax, onAway, signal = never }: Patience,
): Promise<Answer> => {
  const endMs = performance.now() + awayMsMax;
  for (let failures = 0; ; failures = Math.min(failures + 1, failuresCounted)) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof SigilError) || !isAway(error) || signal.aborted) throw error;
      const pauseMs = backOffMs(awayBackOff, failures, Math.random(), error.retryDelayMs);
      if (performance.now() + pauseMs > endMs) throw error;
      onAway?.(error);
      await waitMs(pauseMs, signal);
      if (signal.aborted) throw error;
    }
  }
};
