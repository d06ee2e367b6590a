/**
 * Decides where a relay resumes, from its cursor and the contents of its destination, and splits batches of the feed
 * into batches of the destination. Pure.
 */
import type { FeedBatch, FeedItem, RecordBody } from "@sigil/core/record";
import type { Erased, Holding, OpenDestination } from "./destination.ts";
import type { ErasureRequest } from "./erasure.ts";
import {
  byReference,
  checkpointAttribute,
  eventOf,
  headerBytesOf,
  type EventOptions,
  type Lane,
  type ReadEvent,
  type RelayEvent,
} from "./event.ts";

/** Progress of a relay. */
export type Cursor = {
  /** From 1; incremented by each reset. */
  readonly generation: number;
  /** First position of the generation; undefined if another cursor began it, which was lost. */
  readonly from: bigint | undefined;
  /** Positions below it were acknowledged or filtered out. */
  readonly next: bigint;
  /** Position of the newest message; undefined before the first of the generation. */
  readonly prev: bigint | undefined;
  /** Position of the last message of each lane, where a destination has several. */
  readonly lanes: ReadonlyMap<string, bigint>;
  readonly isPaused: boolean;
};

const noLanes: Cursor["lanes"] = new Map();

export const firstCursor = (from: bigint): Cursor => ({
  generation: 1,
  from,
  next: from,
  prev: undefined,
  lanes: noLanes,
  isPaused: false,
});

export type Start = {
  readonly cursor: Cursor;
  /** The newest message there: the ledger must have the same leaf at its position. */
  readonly last: { readonly position: bigint; readonly leaf: string } | undefined;
  /** Acknowledged positions that the destination lost; they are republished. */
  readonly lost: { readonly from: bigint; readonly until: bigint } | undefined;
};

const lostOf = ({ next }: Cursor, from: bigint): Start["lost"] =>
  next > from ? { from, until: next } : undefined;

/** The destination holds nothing of this generation. Filtered positions are not read again. */
const startAnew = (cursor: Cursor, first: bigint): Start => {
  if (cursor.prev === undefined) return { cursor, last: undefined, lost: undefined };
  const from = cursor.from ?? first;
  return {
    cursor: { ...cursor, from, next: from, prev: undefined, lanes: noLanes },
    last: undefined,
    lost: lostOf(cursor, from),
  };
};

/** Of lanes that hold less than was acknowledged: the first position that any of them lost. */
const lostInLanes = (
  { lanes, from }: Cursor,
  held: ReadonlyMap<string, bigint>,
  first: bigint,
): bigint | undefined => {
  const losses = [...lanes].flatMap(([name, acknowledged]) => {
    const position = held.get(name);
    if (position !== undefined && position >= acknowledged) return [];
    return [position === undefined ? (from ?? first) : position + 1n];
  });
  return losses.length === 0 ? undefined : losses.reduce((least, one) => (one < least ? one : least));
};

/** Newest message of any lane. */
const newestOf = (lasts: ReadonlyMap<string, ReadEvent>): ReadEvent =>
  [...lasts.values()].reduce((one, other) => (other.position > one.position ? other : one));

/** Of the newest message there; 0 if it is not known. */
export const heldGeneration = (holding: Holding): number => {
  if (holding.kind === "at") return holding.last.generation;
  return holding.kind === "lanes" ? newestOf(holding.lasts).generation : 0;
};

/**
 * A crash may leave a batch in some lanes only: it goes on from the cursor, which is behind by no more than that, and
 * what a lane holds is passed over.
 */
const startInLanes = (
  cursor: Cursor,
  { lasts, settled }: Extract<Holding, { readonly kind: "lanes" }>,
  first: bigint,
): Start => {
  const { generation, position, leaf } = newestOf(lasts);
  if (generation < cursor.generation) return startAnew(cursor, first);
  const lanes = new Map([...lasts].map(([name, last]) => [name, last.position]));
  const held = { ...cursor, generation, prev: position, lanes };
  const last = { position, leaf };
  const isOwn = generation === cursor.generation;
  if (!isOwn || cursor.prev === undefined) {
    return {
      cursor: { ...held, from: isOwn ? cursor.from : undefined, next: settled },
      last,
      lost: undefined,
    };
  }
  const lost = lostInLanes(cursor, lanes, first);
  if (lost === undefined) return { cursor: held, last, lost };
  return { cursor: { ...held, next: lost }, last, lost: lostOf(cursor, lost) };
};

/** The destination takes precedence over the cursor. @param first position of the first generation. */
export const planStart = (cursor: Cursor, holding: Holding, first: bigint): Start => {
  switch (holding.kind) {
    case "unknown":
      return { cursor, last: undefined, lost: undefined };
    case "empty":
      return startAnew(cursor, first);
    case "lanes":
      return startInLanes(cursor, holding, first);
    case "at": {
      const { position, leaf, generation } = holding.last;
      // Reset, and nothing published since.
      if (generation < cursor.generation) return startAnew(cursor, first);
      const next = position + 1n;
      const isOwn = generation === cursor.generation;
      // Later positions were filtered out.
      const isAhead = isOwn && cursor.prev === position && cursor.next > next;
      const held = {
        ...cursor,
        generation,
        from: isOwn ? cursor.from : undefined,
        next: isAhead ? cursor.next : next,
        prev: position,
      };
      const isLost = isOwn && cursor.prev !== undefined && cursor.prev > position;
      return { cursor: held, last: { position, leaf }, lost: isLost ? lostOf(cursor, next) : undefined };
    }
  }
};

/** Publishes from a position as a new generation. @param held newest generation there, 0 if none was seen. */
export const newGeneration = ({ generation, isPaused }: Cursor, from: bigint, held: number): Cursor => ({
  generation: Math.max(generation, held) + 1,
  from,
  next: from,
  prev: undefined,
  lanes: noLanes,
  isPaused,
});

/**
 * Whether a destination that cannot change events in their place needs a new generation before its older ones may go:
 * the current one has events of the tenant, or is not known to begin where the first one did.
 */
export const needsGeneration = (
  { generation, from }: Cursor,
  first: bigint,
  { isInPlace, left, newestGeneration = 0 }: Erased,
  action: ErasureRequest["action"],
): boolean => {
  const isHeld = left > 0 && newestGeneration >= generation;
  const isPartial = from !== first && (left > 0 || action === "purge old");
  return !isInPlace && (isHeld || isPartial);
};

/** Records to publish; undefined means all. */
export type Filter = {
  readonly tenants: readonly string[] | undefined;
  readonly kinds: readonly string[] | undefined;
  readonly spaces: readonly string[] | undefined;
};

const isIn = (list: readonly string[] | undefined, value: string): boolean =>
  list === undefined || list.includes(value);

const isOpen = ({ tenants, kinds, spaces }: Filter): boolean =>
  tenants === undefined && kinds === undefined && spaces === undefined;

/** Whether it is let through. */
export const matches = ({ tenants, kinds, spaces }: Filter, body: RecordBody): boolean =>
  isIn(tenants, body.tenant) && isIn(kinds, body.kind) && isIn(spaces, body.space);

/** Erased records match only if there is no filter: their tenant and kind are unknown. */
export const isPublished = (filter: Filter, { record }: FeedItem): boolean =>
  record === undefined ? isOpen(filter) : matches(filter, record.body);

/** What of a batch of the feed goes to a destination. */
export type Published = Pick<FeedBatch, "items"> & {
  /** Undefined where a filter leaves something out: no consumer could compare it. */
  readonly checkpoint: string | undefined;
};

export const publishedOf = (filter: Filter, { items, checkpoint }: FeedBatch): Published => ({
  items: items.filter((item) => isPublished(filter, item)),
  checkpoint: isOpen(filter) ? checkpoint : undefined,
});

const bytesOf = (event: Pick<RelayEvent, "attributes" | "data">): number =>
  headerBytesOf(event) + (event.data?.bytes.length ?? 0);

/** Of destinations where each id is a lane: position → position of the event before it there, absent for the first. */
export type Links = ReadonlyMap<bigint, bigint>;

export type Chunk = {
  readonly events: readonly RelayEvent[];
  /** An event too large even without its data. */
  readonly poison: RelayEvent | undefined;
};

type Sized = { readonly event: RelayEvent; readonly size: number };

const fitting = (item: FeedItem, lane: Lane, options: EventOptions, messageBytesMax: number): Sized => {
  const whole = eventOf(item, options, lane);
  const size = bytesOf(whole);
  if (whole.data === undefined || size <= messageBytesMax) return { event: whole, size };
  const event = byReference(whole);
  return { event, size: bytesOf(event) };
};

/** By reference if it is too large whole; the result may still be too large. */
export const fittingEvent = (
  item: FeedItem,
  lane: Lane,
  options: EventOptions,
  messageBytesMax: number,
): RelayEvent => fitting(item, lane, options, messageBytesMax).event;

/** The last message of each lane once events are published. */
const lanesAfter = (lanes: Cursor["lanes"], events: readonly RelayEvent[]): Cursor["lanes"] => {
  const named = events.flatMap(({ lane, position }) =>
    lane === undefined ? [] : [[lane, position] as const],
  );
  return named.length === 0 ? lanes : new Map([...lanes, ...named]);
};

/** Once these are acknowledged, and everything below `next` is. */
export const cursorAfter = (cursor: Cursor, chunks: readonly Chunk[], next: bigint): Cursor => {
  const events = chunks.flatMap((chunk) => chunk.events);
  const prev = events.at(-1)?.position ?? cursor.prev;
  return { ...cursor, next, prev, lanes: lanesAfter(cursor.lanes, events) };
};

/**
 * Linked events in order, in batches within the limits. Skips what a lane holds. Stops at a poison event. The
 * checkpoint goes with the last event of each batch, unless that one is too large for it.
 * @param links in place of the cursor's lanes.
 */
export const chunksOf = (
  { items, checkpoint }: Published,
  cursor: Cursor,
  options: EventOptions,
  { limits, laneOf }: Pick<OpenDestination, "limits" | "laneOf">,
  links?: Links,
): readonly Chunk[] => {
  const { messageBytesMax, batchEventsMax, batchBytesMax } = limits;
  const chunks: Chunk[] = [];
  let [events, bytes]: [RelayEvent[], number] = [[], 0];
  let { prev: newest } = cursor;
  const lanes = new Map(cursor.lanes);
  const note = checkpoint === undefined ? {} : checkpointAttribute(checkpoint);
  const noteBytes = bytesOf({ attributes: note, data: undefined });
  const checked = (event: RelayEvent): RelayEvent => {
    const isFitting = bytesOf(event) + noteBytes <= messageBytesMax && bytes + noteBytes <= batchBytesMax;
    return isFitting ? { ...event, attributes: { ...event.attributes, ...note } } : event;
  };
  const end = (poison?: RelayEvent): void => {
    const last = events.pop();
    if (last !== undefined) events.push(checked(last));
    if (events.length > 0 || poison !== undefined) chunks.push({ events, poison });
    [events, bytes] = [[], 0];
  };
  const linkOf = (position: bigint, name: string | undefined): bigint | undefined => {
    if (links !== undefined) return links.get(position);
    return name === undefined ? newest : lanes.get(name);
  };
  for (const item of items) {
    const name = laneOf?.(item);
    const prev = linkOf(item.position, name);
    if (prev !== undefined && item.position <= prev) continue;
    const lane = { generation: cursor.generation, prev, name };
    const { event, size } = fitting(item, lane, options, messageBytesMax);
    if (size > messageBytesMax) {
      end(event);
      return chunks;
    }
    if (events.length >= batchEventsMax || (events.length > 0 && bytes + size + noteBytes > batchBytesMax))
      end();
    events.push(event);
    bytes += size;
    newest = item.position;
    if (name !== undefined) lanes.set(name, item.position);
  }
  end();
  return chunks;
};
