/**
 * A snapshot of a serving ledger, for fsck: everything is read from the store's files, nothing from the ledger's
 * caches. Reads yield to served calls.
 */
import { fail } from "../../errors.ts";
import type { Store, StoreEntry, StoreSnapshot } from "../../storage/store.ts";
import type { Anchor } from "../append/anchor.ts";
import type { Erasures } from "../erase/erasures.ts";
import type { LedgerOptions } from "../append/options.ts";
import type { Sequencer } from "../append/sequencer.ts";
import { sizeOf, type LedgerState } from "../append/state.ts";

export type PinnedLedger = AsyncDisposable & {
  readonly size: bigint;
  /** The signed note over the tree of that size. */
  readonly checkpoint: string;
  /** The ledger's options, with the anchor of the snapshot. */
  readonly options: LedgerOptions;
  readonly store: Store;
  /** The store snapshot. Must stay open until the last read has ended: a failing read would stop the ledger. */
  readonly snapshot: StoreSnapshot;
  /** Aborts when keys that the snapshot needs are about to be destroyed. */
  readonly signal: AbortSignal;
};

/** A read-only anchor with a fixed note. */
const anchorAsRead = (note: string | undefined): Anchor => ({
  read: async () => note,
  write: async () => refuse("write anchor"),
});

const refuse = (step: string): never =>
  fail({ kind: "storeFailed", step, rule: "a moment of the ledger is only read" });

type Pinning = {
  readonly now: () => { readonly store: Store; readonly state: LedgerState };
  readonly options: LedgerOptions;
  readonly erasures: Pick<Erasures, "settled" | "isUnderWay" | "copying">;
};

const pinMoment = async ({ now, options, erasures }: Pinning): Promise<PinnedLedger> => {
  const { store, state } = now();
  const anchor = anchorAsRead(await options.anchor.read());
  const snapshot = store.snapshot();
  return {
    size: sizeOf(state),
    checkpoint: state.checkpoint,
    options: { ...options, anchor },
    store,
    snapshot,
    signal: erasures.copying,
    [Symbol.asyncDispose]: () => snapshot.close(),
  };
};

/**
 * Takes the snapshot between two commits, so that records, indexes, bookkeeping and anchor are consistent; its content
 * is read from the store's files later. @throws notServing, storeFailed.
 */
export const pinLedger = async (
  ledger: Pinning,
  sequencer: Pick<Sequencer, "exclusive">,
): Promise<PinnedLedger> => {
  for (;;) {
    await ledger.erasures.settled();
    const pinned = await sequencer.exclusive(async () =>
      ledger.erasures.isUnderWay ? undefined : pinMoment(ledger),
    );
    if (pinned === undefined) continue;
    try {
      await pinned.store.flush();
      return pinned;
    } catch (error) {
      await pinned[Symbol.asyncDispose]();
      throw error;
    }
  }
};

/**
 * Adapts a snapshot to the `Store` interface.
 * @param proceed called before each read: waits until it may begin, returns undefined if it may immediately, throws to
 * abort.
 */
export const storeAt = (
  { store, snapshot }: Pick<PinnedLedger, "store" | "snapshot">,
  proceed: () => Promise<void> | undefined,
): Store => ({
  get: async (key) => {
    await proceed();
    return store.get(key, { snapshot });
  },
  getMany: async (keys) => {
    await proceed();
    return store.getMany(keys, { snapshot });
  },
  async *range(options): AsyncGenerator<StoreEntry> {
    await proceed();
    for await (const entry of store.range({ ...options, snapshot })) {
      yield entry;
      const turn = proceed();
      if (turn !== undefined) await turn;
    }
  },
  commit: async () => refuse("commit"),
  purge: async () => refuse("purge"),
  flush: async () => refuse("flush"),
  snapshot: () => refuse("snapshot"),
  close: async () => {},
  [Symbol.asyncDispose]: async () => {},
});
