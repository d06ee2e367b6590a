/** Events of a golden ledger as a relay to Kafka has them: linked within partitions. */
import type { RelayEvent } from "../../src/relay/event.ts";
import { partitionOf } from "../../src/relay/kafka/topic.ts";

/** Of events that come in ledger order; one that comes again has the link that it had. */
export const partitioner = (partitions: number) => {
  const lasts = new Map<string, bigint>();
  const links = new Map<bigint, bigint | undefined>();
  return (events: readonly RelayEvent[]): readonly RelayEvent[] =>
    events.map((event) => {
      const { sigilprev: _, ...attributes } = event.attributes;
      const { position } = event;
      const lane = String(partitionOf(attributes["subject"], partitions));
      if (!links.has(position)) {
        links.set(position, lasts.get(lane));
        lasts.set(lane, position);
      }
      const prev = links.get(position);
      const link = prev === undefined ? {} : { sigilprev: String(prev) };
      return { ...event, lane, attributes: { ...attributes, ...link } };
    });
};

export const inPartitions = (events: readonly RelayEvent[], partitions: number): readonly RelayEvent[] =>
  partitioner(partitions)(events);

export const inGeneration = (events: readonly RelayEvent[], generation: number): readonly RelayEvent[] =>
  events.map((event) => ({
    ...event,
    attributes: { ...event.attributes, sigilgeneration: String(generation) },
  }));
