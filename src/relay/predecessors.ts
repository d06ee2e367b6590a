/**
 * Links of destinations where each id is an ordered lane of its own: too many to keep cursors of, so the place of the
 * version before comes from the record itself, which names its hash. Remembers the newest `relayPredecessorsMax`
 * records; others are looked up in the ledger.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import type { FeedItem } from "@sigil/core/record";
import { relayPredecessorsMax } from "../limits.ts";
import { isPublished, type Filter, type Links } from "./plan.ts";
import type { FeedSource } from "./source.ts";

/** Decisions are frozen once: nothing follows one. */
const isFollowed = ({ record }: FeedItem): boolean =>
  record !== undefined && record.body.kind !== "frozen_chain";

export class Predecessors {
  readonly #source: FeedSource;
  readonly #filter: Filter;
  readonly #positions = new Map<string, bigint>();

  constructor(source: FeedSource, filter: Filter) {
    this.#source = source;
    this.#filter = filter;
  }

  /**
   * @param published items of the feed that the filter lets through, in order.
   * @param from first position of the generation: its lanes begin there.
   * @throws what the source throws.
   */
  async linksOf(published: readonly FeedItem[], from: bigint, signal: AbortSignal): Promise<Links> {
    const links = new Map<bigint, bigint>();
    for (const item of published) {
      const before = await this.#before(item, signal);
      if (before !== undefined && before >= from) links.set(item.position, before);
      if (item.record !== undefined && isFollowed(item)) this.#note(item.record.hash, item.position);
    }
    return links;
  }

  /** The newest version before an item that is published; undefined where there is none. */
  async #before({ record }: FeedItem, signal: AbortSignal): Promise<bigint | undefined> {
    let hash = record?.body.prev ?? null;
    while (hash !== null) {
      const known = this.#positions.get(toHex(hash)) ?? (await this.#source.positionOf(hash, { signal }));
      // Erased meanwhile, and this item with it: whoever reads it again finds no record.
      if (known === undefined) return undefined;
      const left = await this.#leftOut(known, signal);
      if (left === undefined) return known;
      hash = left.record?.body.prev ?? null;
    }
    return undefined;
  }

  /** An earlier version that the filter leaves out: all of an id have its kind, but for tombstones. */
  async #leftOut(position: bigint, signal: AbortSignal): Promise<FeedItem | undefined> {
    const { kinds } = this.#filter;
    if (kinds === undefined || kinds.includes("tombstone")) return undefined;
    for await (const { items, next } of this.#source.from(position, { signal })) {
      if (next <= position) continue;
      const [item] = items;
      return item?.position !== position || isPublished(this.#filter, item) ? undefined : item;
    }
    return undefined;
  }

  #note(hash: Hash, position: bigint): void {
    this.#positions.set(toHex(hash), position);
    for (const oldest of this.#positions.keys()) {
      if (this.#positions.size <= relayPredecessorsMax) break;
      this.#positions.delete(oldest);
    }
  }
}
