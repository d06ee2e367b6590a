/**
 * A golden ledger as a relay publishes it that is to disclose: in one generation, a checkpoint with the last event of a
 * batch.
 */
import type { FeedItem } from "../../src/core/record/feed.ts";
import { parseHash, toHex } from "../../src/core/bytes.ts";
import { checkpointAttribute, eventOf, type RelayEvent } from "../../src/relay/event.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { messagesOf } from "./golden-source.ts";

/** Hash of a record in hex → its position. */
const positionsOf = ({ places }: GoldenLedger): ReadonlyMap<string, bigint> =>
  new Map(places.map(({ hash }, position) => [toHex(hash), BigInt(position)]));

/** Positions [from, to), published as one batch. @param lanes one, or each id by itself. */
export const eventsOf = (
  ledger: GoldenLedger,
  [from, to]: readonly [number, number],
  lanes: "one" | "ids" = "one",
): readonly RelayEvent[] => {
  const positions = positionsOf(ledger);
  const { origin, places } = ledger;
  const options = {
    origin,
    typePrefix: "sigil",
    data: "full",
    format: "envelope",
    disclosures: "included",
  } as const;
  return messagesOf(ledger, { size: BigInt(places.length) })
    .slice(from, to)
    .map(({ position, prev, leaf, envelope }) => {
      const place = places[Number(position)];
      const isHeld = place !== undefined && envelope !== undefined;
      const record = isHeld ? { ...place, position, version: 1n, envelope } : undefined;
      const item: FeedItem = { position, leaf: parseHash(leaf), record };
      const before = record?.body.prev;
      const ofId = before === undefined || before === null ? undefined : positions.get(toHex(before));
      const link = lanes === "one" ? (prev ?? undefined) : ofId;
      const event = eventOf(item, options, { generation: 1, prev: link });
      const isLast = position === BigInt(to) - 1n;
      const note = [...ledger.checkpoints].find(([size]) => isLast && size > position)?.[1];
      if (note === undefined) return event;
      return { ...event, attributes: { ...event.attributes, ...checkpointAttribute(note) } };
    });
};
