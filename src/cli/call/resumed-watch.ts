/**
 * A watch that resumes where its stream was interrupted, with exponential backoff up to `pauseMsMax`; one without
 * `silenceHeartbeats` heartbeats counts as interrupted.
 */
import { setTimeout as pause } from "node:timers/promises";
import { SigilError, type SigilConnection, type WatchRequest, type WatchResponse } from "@sigil/client";
import { heartbeatMsDefault } from "../../limits.ts";

const pauseMsMin = 250;
const pauseMsMax = 10_000;
const silenceHeartbeats = 3;

export type Watching = {
  readonly request: Partial<WatchRequest>;
  readonly connection: SigilConnection;
  /** Stops the watch. */
  readonly stop: AbortSignal;
  /** Told why a stream was interrupted. */
  readonly onBreak?: (error: SigilError) => void;
};

/** Reads one stream to its end. The time that the caller takes for a message is not silence. @throws SigilError. */
async function* readStream(
  { request, connection, stop }: Watching,
  fromPosition: bigint | undefined,
): AsyncGenerator<WatchResponse> {
  const silent = new AbortController();
  const silence = () => setTimeout(() => silent.abort(), silenceHeartbeats * heartbeatMsDefault);
  let timer = silence();
  const signal = AbortSignal.any([stop, silent.signal]);
  const from = fromPosition === undefined ? {} : { fromPosition };
  try {
    for await (const response of connection.canon.watch({ ...request, ...from }, { signal })) {
      clearTimeout(timer);
      yield response;
      timer = silence();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Whether to resume: errors before the first message are reported instead. */
const isBreak = (
  error: SigilError,
  heard: { readonly ever: boolean; readonly onThisOne: boolean },
): boolean => {
  // UNAUTHENTICATED during a stream means that the token expired; at its beginning, that the caller is refused.
  if (error.codeName === "UNAUTHENTICATED") return heard.onThisOne;
  return heard.ever && ["UNAVAILABLE", "CANCELLED"].includes(error.codeName);
};

/** Every message, until `stop` aborts. @param from the first position; undefined is now. @throws SigilError. */
export async function* resumeWatch(
  watching: Watching,
  from: bigint | undefined,
): AsyncGenerator<WatchResponse> {
  const { stop } = watching;
  let next = from;
  let ever = false;
  let pauseMs = pauseMsMin;
  while (!stop.aborted) {
    let onThisOne = false;
    try {
      for await (const response of readStream(watching, next)) {
        next = response.nextPosition;
        [ever, onThisOne, pauseMs] = [true, true, pauseMsMin];
        yield response;
      }
    } catch (thrown) {
      if (stop.aborted) return;
      const error = SigilError.from(thrown);
      if (!isBreak(error, { ever, onThisOne })) throw error;
      watching.onBreak?.(error);
    }
    await pause(pauseMs, undefined, { signal: stop }).catch(() => {});
    pauseMs = Math.min(2 * pauseMs, pauseMsMax);
  }
}
