/**
 * The storage contract in memory, for tests and dry runs. A backing outlives the stores opened on it, so that reopening
 * shows the same data, like a directory. One store at a time, as on disk.
 */
import { compareBytes } from "@sigil/core/bytes";
import { fail } from "../errors.ts";
import {
  checkBatch,
  type KeyRange,
  type RangeOptions,
  type ReadOptions,
  type Store,
  type StoreEntry,
  type StoreOp,
  type StoreSnapshot,
} from "./store.ts";

/** The counterpart of a LevelDB directory. Opaque: only `openMemoryStore` reads it. */
export type MemoryBacking = {
  /** Sorted by key. Copy-on-write while a reader may hold it. */
  entries: StoreEntry[];
  /** Whether a range or snapshot holds `entries`; if so, the next commit copies first. */
  entriesShared: boolean;
  /** Whether a store is open on it. */
  held: boolean;
};

export const createMemoryBacking = (): MemoryBacking => ({ entries: [], entriesShared: false, held: false });

const closedRule = "the store or snapshot is closed";

/** Binary search: the first index whose key is ≥ `key`. */
const lowerBound = (entries: readonly StoreEntry[], key: Uint8Array): number => {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && compareBytes(entry[0], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
};

const find = (entries: readonly StoreEntry[], key: Uint8Array): Uint8Array | undefined => {
  const entry = entries[lowerBound(entries, key)];
  return entry !== undefined && compareBytes(entry[0], key) === 0 ? entry[1].slice() : undefined;
};

const apply = (entries: StoreEntry[], op: StoreOp): void => {
  const index = lowerBound(entries, op.key);
  const found = entries[index];
  const replaced = found !== undefined && compareBytes(found[0], op.key) === 0 ? 1 : 0;
  if (op.kind === "delete") entries.splice(index, replaced);
  else entries.splice(index, replaced, [Uint8Array.from(op.key), Uint8Array.from(op.value)]);
};

class MemorySnapshot implements StoreSnapshot {
  #entries: readonly StoreEntry[] | undefined;
  constructor(entries: readonly StoreEntry[]) {
    this.#entries = entries;
  }
  get entries(): readonly StoreEntry[] | undefined {
    return this.#entries;
  }
  close(): Promise<void> {
    this.#entries = undefined;
    return Promise.resolve();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

class MemoryStore implements Store {
  readonly #backing: MemoryBacking;
  readonly #snapshots = new Set<MemorySnapshot>();
  #open = true;

  constructor(backing: MemoryBacking) {
    this.#backing = backing;
  }

  async get(key: Uint8Array, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    return find(this.#read("get", options), key);
  }

  async getMany(
    keys: readonly Uint8Array[],
    options: ReadOptions = {},
  ): Promise<readonly (Uint8Array | undefined)[]> {
    const entries = this.#read("get", options);
    return keys.map((key) => find(entries, key));
  }

  async *range(options: RangeOptions): AsyncGenerator<StoreEntry> {
    const entries = this.#read("range", options);
    this.#backing.entriesShared = true;
    const first = lowerBound(entries, options.gte);
    const end = Math.max(first, lowerBound(entries, options.lt));
    const count = Math.min(end - first, options.limit ?? Number.POSITIVE_INFINITY);
    for (let step = 0; step < count; step += 1) {
      const entry = entries[options.reverse === true ? end - 1 - step : first + step];
      if (!this.#open) fail({ kind: "storeFailed", step: "range", rule: closedRule });
      if (entry !== undefined) yield [entry[0].slice(), entry[1].slice()];
    }
  }

  async commit(batch: readonly StoreOp[]): Promise<void> {
    this.#read("commit", {});
    checkBatch(batch);
    if (this.#backing.entriesShared) {
      this.#backing.entries = [...this.#backing.entries];
      this.#backing.entriesShared = false;
    }
    for (const op of batch) apply(this.#backing.entries, op);
  }

  async purge(_ranges: readonly KeyRange[], beforeClosing: () => Promise<void>): Promise<void> {
    this.#read("purge", {});
    await beforeClosing();
    await this.close();
  }

  /** No-op: there is no buffer. */
  async flush(): Promise<void> {
    this.#read("flush", {});
  }

  snapshot(): StoreSnapshot {
    const snapshot = new MemorySnapshot(this.#read("snapshot", {}));
    this.#backing.entriesShared = true;
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#backing.held = false;
    for (const snapshot of this.#snapshots) await snapshot.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #read(step: string, { snapshot }: ReadOptions): readonly StoreEntry[] {
    if (!this.#open) fail({ kind: "storeFailed", step, rule: closedRule });
    if (snapshot === undefined) return this.#backing.entries;
    if (!(snapshot instanceof MemorySnapshot)) {
      throw new TypeError("the snapshot belongs to another kind of store");
    }
    return snapshot.entries ?? fail({ kind: "storeFailed", step, rule: closedRule });
  }
}

/** @throws storeLocked while another store is open on the backing. */
export const openMemoryStore = async (backing: MemoryBacking = createMemoryBacking()): Promise<Store> => {
  if (backing.held) fail({ kind: "storeLocked", path: "memory" });
  backing.held = true;
  return new MemoryStore(backing);
};
