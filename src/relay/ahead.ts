/** Reads and prepares one item while the one before it is being published; publishes one at a time, in order. */
type Work<Item, Prepared> = {
  readonly prepare: (item: Item) => Promise<Prepared>;
  readonly publish: (prepared: Prepared) => Promise<void>;
  /** After each item. */
  readonly turn: () => Promise<void>;
};

export const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

/**
 * Ends with the items or when `signal` aborts, and in any case after what is in flight.
 * @throws what any of them throws; at once where publishing fails while the next item is waited for.
 */
export const publishAhead = async <Item, Prepared>(
  itemsUntil: (signal: AbortSignal) => AsyncIterable<Item>,
  { prepare, publish, turn }: Work<Item, Prepared>,
  signal: AbortSignal,
): Promise<void> => {
  const left = new AbortController();
  const items = itemsUntil(AbortSignal.any([signal, left.signal]))[Symbol.asyncIterator]();
  let publishing: Promise<void> = Promise.resolve();
  try {
    while (!signal.aborted) {
      const reading = items.next();
      const read = await Promise.race([reading, publishing.then(() => reading)]);
      if (read.done === true) break;
      const prepared = await prepare(read.value);
      await publishing;
      if (signal.aborted) break;
      publishing = publish(prepared);
      // Thrown above or below.
      publishing.catch(() => {});
      await turn();
    }
    await publishing;
  } finally {
    left.abort();
    // Nobody else moves the cursor before what is in flight has.
    await publishing.catch(() => {});
    await items.return?.();
  }
};
