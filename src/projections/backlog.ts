/**
 * Between two stages that run beside each other: one adds, the other takes everything that came in the meantime.
 * Bounded in records and bytes; past either the first stage waits.
 */
import { projectionBatchBytesMax, projectionBatchRecordsMax } from "../limits.ts";
import type { LaneBatch } from "./message.ts";

export type Amount = { readonly records: number; readonly bytes: number };

export class Backlog<Item> {
  #items: Item[] = [];
  #records = 0;
  #bytes = 0;
  #isEnded = false;
  #changed = Promise.withResolvers<void>();

  /** Waits while there is more than a batch. Nothing is taken any more once it has ended. */
  async add(item: Item, { records, bytes }: Amount): Promise<void> {
    while (
      !this.#isEnded &&
      (this.#records >= projectionBatchRecordsMax || this.#bytes >= projectionBatchBytesMax)
    ) {
      await this.#changed.promise;
    }
    if (this.#isEnded) return;
    this.#items.push(item);
    this.#records += records;
    this.#bytes += bytes;
    this.#wake();
  }

  /** Everything, once there is something; undefined when nothing more will come. */
  async take(): Promise<readonly Item[] | undefined> {
    while (this.#items.length === 0) {
      if (this.#isEnded) return undefined;
      await this.#changed.promise;
    }
    const items = this.#items;
    [this.#items, this.#records, this.#bytes] = [[], 0, 0];
    this.#wake();
    return items;
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

/** An empty batch counts as one record, so that nothing is held without a bound. */
const amountOf = ({ messages }: LaneBatch): Amount => ({
  records: Math.max(1, messages.length),
  bytes: messages.reduce(
    (sum, { envelope, disclosures }) => sum + (envelope?.length ?? 0) + (disclosures?.length ?? 0),
    0,
  ),
});

/** The newest checkpoint of several: each of them covers what came before it. */
const merge = (batches: readonly LaneBatch[]): LaneBatch => {
  const checkpoint = batches.findLast((batch) => batch.checkpoint !== undefined)?.checkpoint;
  const settled = batches.findLast((batch) => batch.settled !== undefined)?.settled;
  return {
    messages: batches.flatMap((batch) => batch.messages),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(settled === undefined ? {} : { settled }),
    // What came after it may be what it lacked.
    ...(batches.at(-1)?.isDrained === true ? { isDrained: true } : {}),
  };
};

/**
 * The same messages in fewer batches: while one is worked on, the next ones are read. What was read before a failure
 * comes first. @throws what the source throws.
 */
export async function* gatherBatches(batches: AsyncIterable<LaneBatch>): AsyncGenerator<LaneBatch> {
  const backlog = new Backlog<LaneBatch>();
  let failure: { readonly cause: unknown } | undefined;
  let isLeft = false;
  const reading = async (): Promise<void> => {
    try {
      for await (const batch of batches) {
        await backlog.add(batch, amountOf(batch));
        if (isLeft) return;
      }
    } catch (cause) {
      failure = { cause };
    } finally {
      backlog.end();
    }
  };
  void reading();
  try {
    for (let taken = await backlog.take(); taken !== undefined; taken = await backlog.take()) {
      yield merge(taken);
    }
  } finally {
    isLeft = true;
    backlog.end();
  }
  if (failure !== undefined) throw failure.cause;
}
