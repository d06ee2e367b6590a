/**
 * A destination of several lanes in memory, by the last digit of a position: a batch is stored lane by lane, so that a
 * kill leaves it in some of them only.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEvent, type ReadEvent, type RelayEvent } from "../../src/relay/event.ts";
import type { OpenDestination } from "../../src/relay/destination.ts";
import type { DestinationPlace } from "./relay-world.ts";

const laneCount = 3n;

type Stored = { readonly event: RelayEvent; readonly settled: bigint };

type LanesPlace = DestinationPlace & {
  /** The newest messages of a lane, lost. */
  readonly truncate: (lane: string, count: number) => void;
};

export const openLanes = async (): Promise<LanesPlace> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  const lanes = new Map<string, Stored[]>();
  const all = (): readonly Stored[] => [...lanes.values()].flat();
  const generationOf = ({ event }: Stored): number => Number(event.attributes["sigilgeneration"]);
  const newestGeneration = (): number => Math.max(...all().map(generationOf));
  const openThem = (onStep: (step: string) => Promise<void>): OpenDestination => ({
    limits: { messageBytesMax: 1 << 20, batchEventsMax: 5, batchBytesMax: 1 << 20 },
    laneOf: ({ position }) => String(position % laneCount),
    lastPublished: async () => {
      if (all().length === 0) return { kind: "empty" };
      const own = all().filter((one) => generationOf(one) === newestGeneration());
      const lasts = new Map<string, ReadEvent>();
      for (const { event } of own) {
        const last = readEvent(event.attributes);
        if (last !== undefined) lasts.set(event.lane ?? "", last);
      }
      const settled = own.reduce((most, one) => (one.settled > most ? one.settled : most), 0n);
      return { kind: "lanes", lasts, settled };
    },
    publish: async (events) => {
      const settled = events[0]?.position ?? 0n;
      for (const lane of new Set(events.map((event) => event.lane ?? ""))) {
        await onStep(`storing ${lane}`);
        const stored = events.filter((event) => event.lane === lane).map((event) => ({ event, settled }));
        lanes.set(lane, [...(lanes.get(lane) ?? []), ...stored]);
        await onStep(`stored ${lane}`);
      }
    },
    [Symbol.asyncDispose]: async () => {},
  });
  return {
    cursorPath: join(root, "cursor.json"),
    destination: (onStep = async () => {}) => ({
      describe: () => "lanes in memory",
      open: async () => openThem(onStep),
    }),
    messages: async () =>
      all().map(({ event }) => ({
        ...event.attributes,
        lane: event.lane,
        ...(event.data === undefined ? {} : { data: event.data.bytes }),
      })),
    wipe: async () => lanes.clear(),
    truncate: (lane, count) => void lanes.set(lane, (lanes.get(lane) ?? []).slice(0, -count)),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};
