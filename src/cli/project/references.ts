/**
 * Records that a relay published by reference, being larger than its destination takes: their envelopes are fetched,
 * one at a time, and what comes is verified against the leaf like any other. Source: docs/spec/event.md §3.
 */
import type { LaneMessage, LaneSource } from "../../projections/message.ts";
import { usage } from "../terminal/command.ts";

/** The envelope at a position; undefined if it was erased meanwhile. */
export type Resolve = (position: bigint, signal: AbortSignal) => Promise<Uint8Array | undefined>;

/** @throws usage where there is a reference and nothing that resolves it; what `resolve` throws. */
export const resolveReferences = (source: LaneSource, resolve: Resolve | undefined): LaneSource => {
  const whole = async (message: LaneMessage, signal: AbortSignal): Promise<LaneMessage> => {
    const { isReference, ...others } = message;
    if (isReference !== true) return message;
    if (resolve === undefined) {
      return usage(
        `the record at position ${message.position} was published by reference, being too large for its messages: ` +
          "give --resolve grpc://HOST:PORT, a server that has it, and who you are",
      );
    }
    const envelope = await resolve(message.position, signal);
    return envelope === undefined ? others : { ...others, envelope };
  };
  return {
    ...source,
    after: async function* (lanes, { signal }) {
      for await (const batch of source.after(lanes, { signal })) {
        const messages: LaneMessage[] = [];
        for (const message of batch.messages) messages.push(await whole(message, signal));
        if (signal.aborted) return;
        yield { ...batch, messages };
      }
    },
  };
};
