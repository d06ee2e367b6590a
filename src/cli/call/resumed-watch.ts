/**
 * The client's watch, as a command has it: an error before the first message is reported, and from then on the watch
 * goes on where its stream broke off; `stop` ends it without an error.
 */
import type { SigilConnection, SigilError, WatchRequest, WatchResponse } from "@sigil/client";

export type Watching = {
  readonly request: Partial<WatchRequest>;
  readonly connection: SigilConnection;
  /** Stops the watch. */
  readonly stop: AbortSignal;
  /** Told why a stream was interrupted. */
  readonly onBreak?: (error: SigilError) => void;
};

/** Every message, until `stop` aborts. @param from the first position; undefined is now. @throws SigilError. */
export async function* resumeWatch(
  { request, connection, stop, onBreak }: Watching,
  from: bigint | undefined,
): AsyncGenerator<WatchResponse> {
  let heard = false;
  const onInterrupted = (error: SigilError): void => {
    if (!heard) throw error;
    onBreak?.(error);
  };
  const asked = { ...request, ...(from === undefined ? {} : { fromPosition: from }) };
  try {
    for await (const response of connection.watch(asked, { signal: stop, onInterrupted })) {
      heard = true;
      yield response;
    }
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}
