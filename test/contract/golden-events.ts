/** A golden ledger as a relay publishes it: in one generation, a checkpoint with the last event of a batch. */
import type { FeedItem } from "../../src/core/record/feed.ts";
import { parseHash } from "../../src/core/bytes.ts";
import { checkpointAttribute, eventOf, type RelayEvent } from "../../src/relay/event.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { messagesOf } from "./golden-source.ts";

/** Positions [from, to), published as one batch. */
export const eventsOf = (
  ledger: GoldenLedger,
  [from, to]: readonly [number, number],
): readonly RelayEvent[] => {
  const { origin, places } = ledger;
  const options = { origin, typePrefix: "sigil", data: "full", format: "envelope" } as const;
  return messagesOf(ledger, { size: BigInt(places.length) })
    .slice(from, to)
    .map(({ position, prev, leaf, envelope }) => {
      const place = places[Number(position)];
      const isHeld = place !== undefined && envelope !== undefined;
      const record = isHeld
        ? { position, version: 1n, hash: place.hash, body: place.body, envelope }
        : undefined;
      const item: FeedItem = { position, leaf: parseHash(leaf), record };
      const event = eventOf(item, options, { generation: 1, prev: prev ?? undefined });
      const isLast = position === BigInt(to) - 1n;
      const note = [...ledger.checkpoints].find(([size]) => isLast && size > position)?.[1];
      if (note === undefined) return event;
      return { ...event, attributes: { ...event.attributes, ...checkpointAttribute(note) } };
    });
};
