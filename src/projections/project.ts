/**
 * From a source into a store: reads and verifies while the store writes, and hands over together whatever was verified
 * in the meantime, so that a batch is small while a projection follows and large while it is filled. At most
 * `projectionBatchRecordsMax` records and `projectionBatchBytesMax` bytes wait. A crash loses nothing: rows and cursors
 * are stored together, and the source is read again from there.
 */
import { walkKeys } from "@sigil/core/verify";
import { Fault } from "@sigil/core/errors";
import { Backlog, gatherBatches } from "./backlog.ts";
import {
  requireTaken,
  resumeConsumer,
  takeBatch,
  type ConsumerOptions,
  type Place,
  type Taken,
} from "./consumer.ts";
import { failProjection, ProjectionFault } from "./fault.ts";
import type { LaneSource } from "./message.ts";
import { isErasureReport } from "./rows.ts";
import type { ErasedRows, Gathered, ProjectionStore, Resumed } from "./store.ts";

export type ProjectOptions = ConsumerOptions & {
  readonly source: LaneSource;
  readonly store: ProjectionStore;
  /**
   * The ledger's size when this began: once a checkpoint holds so many places the projection has caught up. Undefined
   * for a source that tells none: what there is when it is drained.
   */
  readonly size: bigint | undefined;
  /** How many places the source has now: asked when there are `size`, and no checkpoint that holds them. */
  readonly sourceSize: () => Promise<bigint>;
  /** Whether it ends there, or follows. */
  readonly onCaughtUp: "end" | "follow";
  readonly signal: AbortSignal;
  readonly onApplied?: (applied: { readonly next: bigint; readonly erased: readonly ErasedRows[] }) => void;
};

const isWithheld = (cause: unknown): boolean =>
  cause instanceof ProjectionFault && cause.error.kind === "withheld";

const bytesOf = (places: readonly Place[]): number =>
  places.reduce((sum, { record }) => sum + (record?.envelope.length ?? 0), 0);

type Step = Taken & { readonly isDrained: boolean };

const hasNews = ({ places, checkpoint }: Taken): boolean => places.length > 0 || checkpoint !== undefined;

const gather = (taken: readonly Taken[], from: bigint): Gathered | undefined => {
  const last = taken.at(-1);
  if (last === undefined) return undefined;
  return {
    places: taken.flatMap(({ places }) => places),
    from,
    progress: last.consumer,
    checkpoint: taken.findLast(({ checkpoint }) => checkpoint !== undefined)?.checkpoint?.note,
  };
};

const walk = async ({ keyRecords }: Resumed, { genesis, verify }: ConsumerOptions) => {
  if (keyRecords.length === 0) return undefined;
  try {
    return await walkKeys(genesis, keyRecords, { verify });
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    const rule = `what is stored does not follow from the genesis hash: ${cause.message}`;
    return failProjection({ kind: "otherLedger", rule }, { cause });
  }
};

/** A tree that lacks leaves cannot be gone on with, and one that is whole would lose its root. */
const requireSameFilter = ({ progress }: Resumed, { isFiltered = false }: ConsumerOptions): void => {
  const { next, frontier } = progress;
  const wasFiltered = frontier.size !== next;
  if (next === 0n || wasFiltered === isFiltered) return;
  const rule = wasFiltered
    ? "it holds what a filter let through: go on with --filtered, or rebuild it from an unfiltered source"
    : "it holds every record of the ledger: go on without --filtered, or rebuild it";
  failProjection({ kind: "otherLedger", rule });
};

/**
 * Ends when it has caught up, or when `signal` aborts or the source ends. What was verified before a failure is stored.
 * @throws ProjectionFault; whatever the source throws.
 */
export const project = async (options: ProjectOptions): Promise<void> => {
  const { source, store, sourceSize, onCaughtUp, onApplied } = options;
  const resumed = await store.resume();
  requireSameFilter(resumed, options);
  source.stored?.(resumed.progress.next);
  let consumer = resumeConsumer(resumed.progress, await walk(resumed, options), resumed.checkpoint);
  const stopping = new AbortController();
  const signal = AbortSignal.any([options.signal, stopping.signal]);
  const backlog = new Backlog<Step>();
  const read = async (): Promise<void> => {
    try {
      for await (const batch of gatherBatches(source.after(consumer.lanes, { signal }))) {
        const taken = await takeBatch(consumer, batch, options);
        ({ consumer } = taken);
        const { isDrained = false } = batch;
        if (hasNews(taken) || isDrained) {
          const { places } = taken;
          await backlog.add(
            { ...taken, isDrained },
            { records: Math.max(1, places.length), bytes: bytesOf(places) },
          );
        }
        if (signal.aborted) return;
        // Who follows waits on: a relay may be away in the middle of a batch.
        const isEnd = isDrained && onCaughtUp === "end" && options.isFiltered !== true;
        if (isEnd && options.size !== undefined) requireTaken(consumer, options.size);
      }
    } finally {
      backlog.end();
    }
  };
  let { next, checked } = consumer;
  let { size } = options;
  let [isPublished, awaitsReport] = [false, false];
  const caughtUp = async (places: readonly Place[]): Promise<void> => {
    if (isPublished || size === undefined || next < size) return;
    if (checked < size && options.isFiltered !== true) {
      // More may come, with the checkpoint that is waited for.
      if (onCaughtUp === "end" && next >= (await sourceSize()))
        failProjection({ kind: "unchecked", size: next, checked });
      return;
    }
    // Publishing counts every row, and only reports account for what came as erased.
    if (awaitsReport && !places.some(isErasureReport)) return;
    try {
      await store.publish();
      isPublished = true;
    } catch (fault) {
      // The reports that account for erased records may come later: they are shown with those, to followers alone.
      if (onCaughtUp === "end" || !isWithheld(fault)) throw fault;
      awaitsReport = true;
    }
    if (onCaughtUp === "end") stopping.abort();
  };
  const write = async (): Promise<void> => {
    try {
      await caughtUp([]);
      for (let taken = await backlog.take(); taken !== undefined; taken = await backlog.take()) {
        const gathered = gather(taken, next);
        if (gathered === undefined) continue;
        if (taken.some(hasNews)) {
          const erased = await store.apply(gathered);
          ({ next } = gathered.progress);
          source.stored?.(next);
          checked = taken.findLast(({ checkpoint }) => checkpoint !== undefined)?.checkpoint?.size ?? checked;
          onApplied?.({ next, erased });
        }
        if (options.size === undefined && taken.at(-1)?.isDrained === true) {
          // Every ledger has its genesis record: a rebuild must not put nothing in the place of a projection.
          if (next === 0n && onCaughtUp === "end") failProjection({ kind: "unchecked", size: next, checked });
          size = next;
        }
        await caughtUp(gathered.places);
      }
    } finally {
      stopping.abort();
      backlog.end();
    }
  };
  const [reading, writing] = await Promise.allSettled([read(), write()]);
  // The store's failure is why the source was broken off.
  if (writing.status === "rejected") throw writing.reason;
  if (reading.status === "rejected") throw reading.reason;
};
