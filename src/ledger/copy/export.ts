/**
 * What a ledger holds, for a backup: the entries that cannot be derived, as they were at one moment, sealed as they
 * lie. Each group's entry comes before its records, and each record is opened and held against its leaf before it goes
 * out. Indexes and tiles are left out: they follow from the records. Holds one store snapshot while it is read.
 */
import { leafOf } from "@sigil/core/verify";
import { equalBytes, type PublicKey } from "@sigil/core/bytes";
import { assert, fail, invalidField, SigilFault } from "../../errors.ts";
import type { KeyRing } from "@sigil/core/keys";
import type { Store, StoreEntry, StoreSnapshot } from "../../storage/store.ts";
import { parseGroup, type GroupEntry } from "../layout/group.ts";
import { familyRange, groupKey, positionOf, recordKey } from "../layout/keyspace.ts";
import type { Sealer } from "../sealing/sealer.ts";

export type ExportContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  /** As it is when it is asked for: a key may be announced in the commit that the snapshot just caught. */
  readonly ring: () => KeyRing;
  /** Aborts when keys are about to be destroyed that the ledger of this moment needs. */
  readonly signal: AbortSignal;
};

/** Entries of one commit: its group entry, then its records. */
export type ExportedGroup = { readonly end: bigint; readonly entries: readonly StoreEntry[] };

export type LedgerExport = AsyncDisposable & {
  readonly size: bigint;
  /** The signed note over the tree of that size. */
  readonly checkpoint: string;
  /** Keys that have signed checkpoints, oldest first. */
  readonly checkpointKeys: readonly PublicKey[];
  /** Groups from the asked size to `size`. @throws recordCorrupt, ledgerCorrupt, storeFailed. */
  readonly groups: () => AsyncIterable<ExportedGroup>;
  /** Counts of seals and idempotency entries: whole each time, they change. @throws storeFailed. */
  readonly bookkeeping: () => AsyncIterable<StoreEntry>;
};

/** Families that are kept whole beside the records. */
export const bookkeepingFamilies = ["e", "k", "s"] as const;

class SnapshotExport implements LedgerExport {
  readonly #context: ExportContext;
  readonly #snapshot: StoreSnapshot;
  readonly #from: bigint;
  readonly size: bigint;
  readonly checkpoint: string;

  constructor(context: ExportContext, snapshot: StoreSnapshot, from: bigint, last: GroupEntry) {
    this.#context = context;
    this.#snapshot = snapshot;
    this.#from = from;
    this.size = last.firstPosition + BigInt(last.leaves.length);
    this.checkpoint = last.checkpoint;
  }

  get checkpointKeys(): readonly PublicKey[] {
    const { entries } = this.#context.ring();
    return entries.filter(({ role }) => role === "checkpoint").map(({ publicKey }) => publicKey);
  }

  async *groups(): AsyncGenerator<ExportedGroup> {
    const { store } = this.#context;
    this.#requireWhole();
    const at = { snapshot: this.#snapshot };
    const records = store
      .range({ gte: recordKey(this.#from), lt: familyRange("r").lt, ...at })
      [Symbol.asyncIterator]();
    try {
      for await (const entry of store.range({ gte: groupKey(this.#from), lt: familyRange("b").lt, ...at })) {
        const group = parseGroup(positionOf(entry[0]), entry[1]);
        const entries: StoreEntry[] = [entry];
        for (const [index, leaf] of group.leaves.entries()) {
          const position = group.firstPosition + BigInt(index);
          const next = await records.next();
          entries.push(await this.#checked(next.done === true ? undefined : next.value, position, leaf));
        }
        yield { end: group.firstPosition + BigInt(group.leaves.length), entries };
        this.#requireWhole();
      }
    } finally {
      await records.return?.();
    }
  }

  async *bookkeeping(): AsyncGenerator<StoreEntry> {
    for (const family of bookkeepingFamilies) {
      this.#requireWhole();
      yield* this.#context.store.range({ ...familyRange(family), snapshot: this.#snapshot });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#snapshot.close();
  }

  /** Keys were read before the records: what began with them has to end before they go. @throws notServing. */
  #requireWhole(): void {
    if (!this.#context.signal.aborted) return;
    fail({ kind: "notServing", rule: "a tenant is being erased; begin the backup again" });
  }

  async #checked(entry: StoreEntry | undefined, position: bigint, leaf: Uint8Array): Promise<StoreEntry> {
    const { sealer } = this.#context;
    if (entry === undefined || positionOf(entry[0]) !== position) {
      const rule = "no record is stored at this position";
      return fail({ kind: "recordCorrupt", position, step: "seal", rule });
    }
    let envelope: Uint8Array;
    try {
      ({ envelope } = await sealer.open(entry[1], position));
    } catch (error) {
      // What is left of an erased tenant's record; its leaf vouches for the tree, and the erasure for the record.
      if (error instanceof SigilFault && error.error.kind === "erased") return entry;
      throw error;
    }
    if (!equalBytes(leafOf(envelope), leaf)) {
      const rule = "the record is not the one its group's entry holds";
      return fail({ kind: "recordCorrupt", position, step: "leaf", rule });
    }
    return entry;
  }
}

const newestGroup = async (store: Store, snapshot: StoreSnapshot): Promise<GroupEntry> => {
  for await (const [key, value] of store.range({
    ...familyRange("b"),
    reverse: true,
    limit: 1,
    snapshot,
  })) {
    return parseGroup(positionOf(key), value);
  }
  return fail({ kind: "ledgerCorrupt", position: 0n, rule: "the ledger has no genesis record" });
};

/** No group begins there: the one before goes on, or an entry is missing. */
const refuseFrom = async (from: bigint, store: Store, snapshot: StoreSnapshot): Promise<never> => {
  const before = { gte: groupKey(0n), lt: groupKey(from), reverse: true, limit: 1, snapshot };
  let end = 0n;
  for await (const [key, value] of store.range(before)) {
    const group = parseGroup(positionOf(key), value);
    end = group.firstPosition + BigInt(group.leaves.length);
  }
  if (end <= from) fail({ kind: "ledgerCorrupt", position: from, rule: "a group entry is missing" });
  return invalidField("from_size", "must be a size that has a checkpoint");
};

/**
 * Pins the ledger as it is now. A commit is in the snapshot whole or not at all, so its newest group says the size.
 * @param from how many records the taker has: the end of a group. @throws sizeOutOfRange, invalidField, ledgerCorrupt.
 */
export const exportLedger = async (from: bigint, context: ExportContext): Promise<LedgerExport> => {
  const { store } = context;
  const snapshot = store.snapshot();
  try {
    const exported = new SnapshotExport(context, snapshot, from, await newestGroup(store, snapshot));
    assert(from >= 0n, "a size is not negative");
    if (from > exported.size) fail({ kind: "sizeOutOfRange", size: from, treeSize: exported.size });
    const begins = from === exported.size || (await store.get(groupKey(from), { snapshot })) !== undefined;
    if (!begins) await refuseFrom(from, store, snapshot);
    return exported;
  } catch (error) {
    await snapshot.close();
    throw error;
  }
};
