/**
 * Exports a ledger for a backup: the entries that cannot be derived, from one snapshot, still sealed. Each group's
 * entry precedes its records, and each record is opened and checked against its leaf before it is emitted. Indexes and
 * tiles are omitted: they derive from the records. Holds one store snapshot while it is read.
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
  /** The current ring, not a copy: the snapshot's last commit may have announced a key. */
  readonly ring: () => KeyRing;
  /** Aborts when keys that this snapshot needs are about to be destroyed. */
  readonly signal: AbortSignal;
};

/** Entries of one commit: its group entry, then its records. */
export type ExportedGroup = { readonly end: bigint; readonly entries: readonly StoreEntry[] };

export type LedgerExport = AsyncDisposable & {
  readonly size: bigint;
  /** The signed note over the tree of that size. */
  readonly checkpoint: string;
  /** Checkpoint keys, oldest first. */
  readonly checkpointKeys: readonly PublicKey[];
  /** Groups from the requested size to `size`. @throws recordCorrupt, ledgerCorrupt, storeFailed. */
  readonly groups: () => AsyncIterable<ExportedGroup>;
  /**
   * Seal counts, idempotency entries and entries of erased records: always complete, since they change. @throws
   * storeFailed.
   */
  readonly bookkeeping: () => AsyncIterable<StoreEntry>;
};

/** Families exported completely, beside the records. */
export const bookkeepingFamilies = ["e", "k", "n", "s"] as const;

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
    return entries.flatMap((entry) => (entry.role === "checkpoint" ? [entry.publicKey] : []));
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

  /** An export begun with a tenant's keys must not outlive them. @throws notServing if an erasure has begun. */
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
      // An erased tenant's record cannot be opened: its leaf proves the tree, the erasure order explains the record.
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

/** Explains why no group begins there: the position is inside a group, or a group entry is missing. */
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
 * Takes a snapshot of the ledger. Commits are atomic, so the snapshot's newest group gives the size.
 * @param from number of records the receiver already has; the end of a group.
 * @throws sizeOutOfRange, invalidField, ledgerCorrupt.
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
