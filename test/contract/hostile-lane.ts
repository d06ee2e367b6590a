/** What a broker could do to the events of a lane that no link and no signature tells: only the tree does. */
import type { RelayEvent } from "../../src/relay/event.ts";

type Attributes = RelayEvent["attributes"];

const placedAt = (before: Attributes, position: bigint): Attributes => {
  const { sigilprev: _, ...attributes } = before;
  return {
    ...attributes,
    sequence: String(position).padStart(20, "0"),
    sigilposition: String(position),
    ...(position === 0n ? {} : { sigilprev: String(position - 1n) }),
  };
};

/** One is dropped; every later one moves down a place, with links that hold. */
export const dropAndRelink = (events: readonly RelayEvent[], dropped: bigint): readonly RelayEvent[] =>
  events
    .filter(({ position }) => position !== dropped)
    .map((event) => {
      if (event.position < dropped) return event;
      const position = event.position - 1n;
      return { ...event, position, attributes: placedAt(event.attributes, position) };
    });

/** Two signed records change places, with positions and links that hold; checkpoints stay where they were. */
export const exchange = (
  events: readonly RelayEvent[],
  [one, two]: readonly [number, number],
): readonly RelayEvent[] =>
  events.map((event, at) => {
    const other = at === one ? events[two] : at === two ? events[one] : undefined;
    if (other === undefined) return event;
    const { sigilcheckpoint: _, ...attributes } = other.attributes;
    const { sigilcheckpoint } = event.attributes;
    const note = sigilcheckpoint === undefined ? {} : { sigilcheckpoint };
    return {
      ...other,
      position: event.position,
      attributes: { ...placedAt(attributes, event.position), ...note },
    };
  });

/** No signed checkpoint reaches the consumer. */
export const withoutCheckpoints = (events: readonly RelayEvent[]): readonly RelayEvent[] =>
  events.map((event) => {
    const { sigilcheckpoint: _, ...attributes } = event.attributes;
    return { ...event, attributes };
  });
