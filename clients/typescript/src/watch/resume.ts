/**
 * Streams that go on where they broke off: over a server that is away, a GOAWAY, a restart, a token that
 * expired. Each record once and in order, however often it is sent. Ends with an error that no repeat would change.
 * Source: docs/spec/feed.md. Bound: one stream at a time, and the position after its last message.
 */
import { status as Code } from "@grpc/grpc-js";
import type { WatchRequest, WatchResponse } from "@sigil/proto/sigil/canon/v1/canon";
import { cancelled, type CallOptions } from "../call.ts";
import { SigilError } from "../error.ts";
import { awayBackOff, backOffMs, failuresCounted } from "../retry/plan.ts";
import { waitMs } from "../retry/pause.ts";
import type { Partially } from "../services/method.ts";
import type { CanonClient } from "../services/canon.ts";

export type WatchOptions = CallOptions & {
  /** Told why the stream broke off, before it is opened again. */
  readonly onInterrupted?: ((error: SigilError) => void) | undefined;
};

/** A stream without a sign of life for so many heartbeats is no stream any more. */
const silenceHeartbeats = 3;
const heartbeatSecondsDefault = 15;

/** What the same request may outlive, whether or not a stream was ever open. */
const passing: ReadonlySet<number> = new Set([Code.UNAVAILABLE, Code.ABORTED]);
/** What ends a stream that was open, and does not say that the next one would be refused. */
const breaking: ReadonlySet<number> = new Set([
  ...passing,
  Code.CANCELLED,
  Code.INTERNAL,
  Code.UNKNOWN,
  Code.DEADLINE_EXCEEDED,
  // The token expired, and the next stream has another one.
  Code.UNAUTHENTICATED,
]);

const isBreak = ({ code, retryDelayMs }: SigilError, wasOpen: boolean): boolean =>
  (wasOpen ? breaking : passing).has(code) ||
  (code === Code.RESOURCE_EXHAUSTED && (wasOpen || retryDelayMs !== undefined));

const silent = (): SigilError => new SigilError(Code.UNAVAILABLE, "the watch fell silent");
const ended = (): SigilError => new SigilError(Code.UNAVAILABLE, "the server ended the watch");

/** What is opened again and again, and what is remembered of it. */
export type Resumable<Event> = {
  /** Opens a stream where the last one broke off. */
  readonly open: (signal: AbortSignal) => AsyncGenerator<Event, void, undefined>;
  /** Takes note of where to go on. @returns whether the event is news: one that was handed on before is not. */
  readonly take: (event: Event) => boolean;
  /** Without an event for so long, the stream is none any more. Absent where nothing says that it should speak. */
  readonly silenceMs?: number;
  /** What the end of a stream is that no error ended: a break, or with "done" the end of all. */
  readonly end?: "done";
  /** Breaks in a row, with no event between them, after which the last one is thrown; absent for ever. */
  readonly failuresMax?: number;
};

export const silenceMsOf = ({ heartbeatSeconds = 0 }: Partially<WatchRequest>): number =>
  silenceHeartbeats * (heartbeatSeconds === 0 ? heartbeatSecondsDefault : heartbeatSeconds) * 1000;

/** One stream to its end. The time that the caller takes for an event is no silence. @throws what the stream throws. */
async function* once<Event>(
  { open, silenceMs }: Resumable<Event>,
  given: AbortSignal | undefined,
): AsyncGenerator<Event, void, undefined> {
  const quiet = new AbortController();
  const listen = () => (silenceMs === undefined ? undefined : setTimeout(() => quiet.abort(), silenceMs));
  let timer = listen();
  try {
    const signal = given === undefined ? quiet.signal : AbortSignal.any([given, quiet.signal]);
    for await (const event of open(signal)) {
      clearTimeout(timer);
      yield event;
      timer = listen();
    }
  } catch (error) {
    throw quiet.signal.aborted ? silent() : error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Ends by itself only with `end: "done"`: leave the loop, or abort the signal, which throws CANCELLED.
 * @throws SigilError that no repeat would change: permission, a bad request, damage. Whatever else the stream throws,
 * and what `take` throws.
 */
export async function* resuming<Event>(
  resumable: Resumable<Event>,
  { signal, onInterrupted }: Pick<WatchOptions, "signal" | "onInterrupted">,
  closed?: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const stops = [signal, closed].filter((each) => each !== undefined);
  const { failuresMax = Infinity } = resumable;
  for (let failures = 0; ;) {
    let wasOpen = false;
    let broken: SigilError;
    let refused = false;
    try {
      for await (const event of once(resumable, signal)) {
        [wasOpen, failures, refused] = [true, 0, true];
        const isNews = resumable.take(event);
        refused = false;
        if (isNews) yield event;
      }
      if (resumable.end === "done") return;
      broken = ended();
    } catch (error) {
      if (!(error instanceof SigilError) || refused) throw error;
      if (signal?.aborted === true) throw cancelled(signal);
      if (closed?.aborted === true || !isBreak(error, wasOpen)) throw error;
      broken = error;
    }
    if (failures >= failuresMax) throw broken;
    onInterrupted?.(broken);
    await waitMs(
      backOffMs(awayBackOff, failures, Math.random(), broken.retryDelayMs),
      AbortSignal.any(stops),
    );
    failures = Math.min(failures + 1, failuresCounted);
    if (signal?.aborted === true) throw cancelled(signal);
    if (closed?.aborted === true) throw broken;
  }
}

/** Messages of a watch, each record once. @throws as `resuming`. */
export const watchResuming = (
  canon: Pick<CanonClient, "watch">,
  request: Partially<WatchRequest>,
  { onInterrupted, ...options }: WatchOptions,
  closed: AbortSignal,
): AsyncGenerator<WatchResponse, void, undefined> => {
  let next = request.fromPosition === undefined ? undefined : BigInt(request.fromPosition);
  const resumable: Resumable<WatchResponse> = {
    open: (signal) =>
      canon.watch(
        { ...request, ...(next === undefined ? {} : { fromPosition: next }) },
        { ...options, signal },
      ),
    take: ({ event, nextPosition }) => {
      const isNews =
        next === undefined || nextPosition > next || (event?.$case === "heartbeat" && nextPosition === next);
      if (isNews) next = nextPosition;
      return isNews;
    },
    silenceMs: silenceMsOf(request),
  };
  return resuming(resumable, { signal: options.signal, onInterrupted }, closed);
};
