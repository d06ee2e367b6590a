/**
 * Items that wait, by whose they are: holders take turns, and a holder's own go in the order they came. Pure. Holds
 * what is added until it is taken or removed: whoever adds bounds it.
 */

export class FairQueue<Holder, Item> {
  /** In the order of their turns. A holder of whom nothing waits is in no turn. */
  readonly #lines = new Map<Holder, Item[]>();

  get isEmpty(): boolean {
    return this.#lines.size === 0;
  }

  get holderCount(): number {
    return this.#lines.size;
  }

  /** In the order of their turns. */
  holders(): Iterable<Holder> {
    return this.#lines.keys();
  }

  countOf(holder: Holder): number {
    return this.#lines.get(holder)?.length ?? 0;
  }

  add(holder: Holder, item: Item): void {
    const line = this.#lines.get(holder);
    if (line === undefined) this.#lines.set(holder, [item]);
    else line.push(item);
  }

  /** Before the holder's others. */
  addFirst(holder: Holder, item: Item): void {
    const line = this.#lines.get(holder);
    if (line === undefined) this.#lines.set(holder, [item]);
    else line.unshift(item);
  }

  firstOf(holder: Holder): Item | undefined {
    return this.#lines.get(holder)?.[0];
  }

  /** The first of the holder whose turn it is. */
  take(): Item | undefined {
    for (const holder of this.#lines.keys()) return this.takeOf(holder);
    return undefined;
  }

  /** The first of a holder, who goes behind the others. */
  takeOf(holder: Holder): Item | undefined {
    const line = this.#lines.get(holder);
    if (line === undefined) return undefined;
    this.#lines.delete(holder);
    const item = line.shift();
    if (line.length > 0) this.#lines.set(holder, line);
    return item;
  }

  /** The others keep their places. */
  remove(holder: Holder, item: Item): void {
    const line = this.#lines.get(holder);
    const index = line?.indexOf(item) ?? -1;
    if (line === undefined || index < 0) return;
    line.splice(index, 1);
    if (line.length === 0) this.#lines.delete(holder);
  }

  /** @returns what waited, holder by holder. */
  clear(): readonly Item[] {
    const items = [...this.#lines.values()].flat();
    this.#lines.clear();
    return items;
  }
}
