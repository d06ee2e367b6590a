/**
 * A round-robin fair queue: holders take turns, each holder's items are FIFO. Pure. Unbounded: callers limit what they
 * add.
 */

export class FairQueue<Holder, Item> {
  /** In turn order. Holders without items are absent. */
  readonly #lines = new Map<Holder, Item[]>();

  get isEmpty(): boolean {
    return this.#lines.size === 0;
  }

  get holderCount(): number {
    return this.#lines.size;
  }

  /** In turn order. */
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

  /** Adds an item at the head of the holder's line. */
  addFirst(holder: Holder, item: Item): void {
    const line = this.#lines.get(holder);
    if (line === undefined) this.#lines.set(holder, [item]);
    else line.unshift(item);
  }

  firstOf(holder: Holder): Item | undefined {
    return this.#lines.get(holder)?.[0];
  }

  /** Takes the first item of the next holder. */
  take(): Item | undefined {
    for (const holder of this.#lines.keys()) return this.takeOf(holder);
    return undefined;
  }

  /** Takes the first item of a holder, who moves to the end of the turn order. */
  takeOf(holder: Holder): Item | undefined {
    const line = this.#lines.get(holder);
    if (line === undefined) return undefined;
    this.#lines.delete(holder);
    const item = line.shift();
    if (line.length > 0) this.#lines.set(holder, line);
    return item;
  }

  /** Removes an item without changing the order of others. */
  remove(holder: Holder, item: Item): void {
    const line = this.#lines.get(holder);
    const index = line?.indexOf(item) ?? -1;
    if (line === undefined || index < 0) return;
    line.splice(index, 1);
    if (line.length === 0) this.#lines.delete(holder);
  }

  /** @returns the removed items, by holder. */
  clear(): readonly Item[] {
    const items = [...this.#lines.values()].flat();
    this.#lines.clear();
    return items;
  }
}
