/**
 * A server as a source: a watch of every kind in both spaces of every tenant, which takes Root of tenant system or a
 * feed grant for all of it. Checkpoints come with its heartbeats. Records are held one at a time.
 */
import { RecordView, Space, type SigilConnection, type SigilError, type WatchResponse } from "@sigil/client";
import { parseCheckpoint, parseNote } from "@sigil/core/merkle";
import { leafOf } from "@sigil/core/verify";
import type { LaneBatch, LaneMessage, LaneSource } from "../../projections/message.ts";
import { resumeWatch } from "../call/resumed-watch.ts";
import type { Resolve } from "./references.ts";

const lane = "ledger";

/** A watch of everything has every position: that is all that links its messages, and the consumer counts. */
const prevOf = (position: bigint): bigint | null => (position === 0n ? null : position - 1n);

const messageOf = ({ event }: WatchResponse): LaneMessage | undefined => {
  if (event?.$case === "erased") {
    const { position, leaf } = event.value;
    return { lane, position, prev: prevOf(position), leaf };
  }
  if (event?.$case !== "record" || event.value.record === undefined) return undefined;
  const { position, envelope } = event.value.record;
  return { lane, position, prev: prevOf(position), leaf: leafOf(envelope), envelope };
};

const batchOf = (response: WatchResponse): LaneBatch => {
  const message = messageOf(response);
  const { event } = response;
  return {
    messages: message === undefined ? [] : [message],
    ...(event?.$case === "heartbeat" ? { checkpoint: event.value.checkpoint } : {}),
  };
};

const request = {
  tenants: ["*"],
  spaces: [Space.SPACE_USER, Space.SPACE_SYSTEM],
  allKinds: true,
  view: RecordView.RECORD_VIEW_FULL,
};

/** @param onBreak told why a stream was interrupted; it is resumed. */
export const serverSource = (
  connection: SigilConnection,
  onBreak: (error: SigilError) => void,
): LaneSource => ({
  after: async function* (lanes, { signal }) {
    const from = (lanes.get(lane)?.position ?? -1n) + 1n;
    for await (const response of resumeWatch({ request, connection, stop: signal, onBreak }, from)) {
      yield batchOf(response);
    }
  },
});

/** The envelope at a position; undefined if its tenant was erased. One stream a record. @throws SigilError. */
export const fetchRecord =
  (connection: SigilConnection): Resolve =>
  async (position, signal) => {
    const found = new AbortController();
    const stop = AbortSignal.any([signal, found.signal]);
    try {
      for await (const response of resumeWatch({ request, connection, stop }, position)) {
        const message = messageOf(response);
        if (message?.position === position) return message.envelope;
      }
    } finally {
      found.abort();
    }
    return undefined;
  };

/** How many places the server's ledger has now. @throws SigilError. */
export const serverSize = async (connection: SigilConnection): Promise<bigint> => {
  const { checkpoint } = await connection.audit.getCheckpoint({});
  return parseCheckpoint(parseNote(checkpoint).text).size;
};
