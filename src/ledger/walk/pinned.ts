/**
 * One moment of a ledger that goes on serving, for an inspection of it: what its store holds is read again from its
 * files, none of what the ledger remembers vouches for it. Reads take turns with whoever is being served.
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
  /** As the ledger was opened, with the anchor of that moment. */
  readonly options: LedgerOptions;
  readonly store: Store;
  /**
   * Holds when the moment was taken. Not closed before the last read has ended: a failing read would stop the ledger.
   */
  readonly snapshot: StoreSnapshot;
  /** Aborts when keys are about to be destroyed that the ledger of this moment needs. */
  readonly signal: AbortSignal;
};

/** An anchor as it was read. */
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
 * Takes the moment between two commits, so that records, indexes, bookkeeping and anchor are of one; what was committed
 * until then is read from the store's files afterwards.
 * @throws notServing, storeFailed.
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
 * A store as it was at the moment, for readers that know of no snapshots.
 * @param proceed waits until the next read may begin; undefined when it may at once. @throws what ends the reading.
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
