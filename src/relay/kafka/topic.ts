/**
 * Where a relay's events are in Kafka: one topic for each generation, a lane for each partition, and the partition by a
 * record's key as Kafka's own clients choose it. Pure. Source: docs/spec/event.md §5; Apache Kafka, Utils.murmur2.
 */
import { utf8Encode } from "@sigil/core/bytes";

/** The first generation has the configured name, later ones a suffix. */
export const topicOfGeneration = (topic: string, generation: number): string =>
  generation === 1 ? topic : `${topic}-g${generation}`;

/** Generations that have a topic among these names, newest first. */
export const generationsOf = (topic: string, names: readonly string[]): readonly number[] =>
  names
    .flatMap((name) => {
      if (name === topic) return [1];
      const [, digits] = name.startsWith(`${topic}-g`)
        ? (/^-g([1-9]\d{0,8})$/.exec(name.slice(topic.length)) ?? [])
        : [];
      return digits === undefined || digits === "1" ? [] : [Number(digits)];
    })
    .toSorted((one, other) => other - one);

const seed = 0x9747b28c;
const multiplier = 0x5bd1e995;
const rotation = 24;

const mix = (value: number): number => {
  const mixed = Math.imul(value, multiplier);
  return Math.imul(mixed ^ (mixed >>> rotation), multiplier);
};

const murmur2 = (bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length - (bytes.length % 4);
  let hash = seed ^ bytes.length;
  for (let at = 0; at < whole; at += 4) hash = Math.imul(hash, multiplier) ^ mix(view.getInt32(at, true));
  for (let at = bytes.length - 1; at >= whole; at -= 1) hash ^= (bytes[at] ?? 0) << (8 * (at - whole));
  if (whole < bytes.length) hash = Math.imul(hash, multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
};

/** @param key undefined for an erased record, which has none. */
export const partitionOf = (key: string | undefined, partitions: number): number =>
  key === undefined ? 0 : (murmur2(utf8Encode(key)) & 0x7fff_ffff) % partitions;

/** Settings of a topic by their names in Kafka, as far as it reports them. */
export type TopicLayout = {
  readonly partitions: number;
  readonly settings: ReadonlyMap<string, string>;
};

/** What a relay's topic must be: it keeps every message. */
export const keptSettings = {
  "cleanup.policy": "delete",
  "retention.ms": "-1",
  "retention.bytes": "-1",
} as const;

/** @returns undefined if a relay can publish there. */
export const layoutFault = ({ partitions, settings }: TopicLayout, wanted: number): string | undefined => {
  for (const [name, value] of Object.entries(keptSettings)) {
    const found = settings.get(name);
    if (found !== value) {
      return `has ${name}=${found ?? "nothing"}: set ${name}=${value}, so that it keeps every message`;
    }
  }
  if (partitions === wanted) return undefined;
  return `has ${partitions} partitions, and the relay publishes to ${wanted}: set partitions = ${partitions} if it had so many from its first message on; otherwise sigil relay reset begins a new topic, which has ${wanted}`;
};
