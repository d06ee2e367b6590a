/**
 * A store that is closed and reopened between reads whenever its resident mapped memory exceeds a limit: LevelDB maps
 * whole tables, and keeps at least 64 of them. For full scans with exclusive use of the store; a range resumes after
 * its last entry, so it shows writes made meanwhile.
 */
import { readFile } from "node:fs/promises";
import { fail, SigilFault } from "../errors.ts";
import type { RangeOptions, Store, StoreEntry, StoreOp } from "./store.ts";

/** Resident bytes of mapped files of this process; undefined if the system does not tell. */
export const mappedBytes = async (): Promise<number | undefined> => {
  try {
    // Fields in pages: size, resident, shared. Source: proc(5).
    const pages = Number((await readFile("/proc/self/statm", "utf8")).split(" ")[2]);
    return Number.isFinite(pages) ? pages * pageBytes : undefined;
  } catch {
    return undefined;
  }
};

/** The smallest page size of systems with `/proc`; with larger pages the effective limit is higher. */
const pageBytes = 4096;

/** Reads between two checks. */
const readsPerLook = 10_000;

export type ResidentOptions = {
  /** Reopens the store; its lock is free in between. */
  readonly open: () => Promise<Store>;
  /** The limit; must exceed what is mapped right after opening. */
  readonly bytesMax: number;
  /** For tests; default `mappedBytes`. */
  readonly mapped?: () => Promise<number | undefined>;
};

const afterKey = (key: Uint8Array): Uint8Array => {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
};

class ResidentStore implements Store {
  readonly #options: ResidentOptions;
  #store: Store;
  /** Incremented by each opening. */
  #opening = 0;
  #reads = 0;
  #limit: number;
  /** Calls in progress on the open store; a reopening waits for them, and later calls wait for it. */
  #calls = new Set<Promise<unknown>>();
  #reopening: Promise<void> | undefined;
  #closed = false;

  constructor(options: ResidentOptions, store: Store, limit: number) {
    this.#options = options;
    this.#store = store;
    this.#limit = limit;
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#call(1, (store) => store.get(key));
  }

  getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#call(keys.length, (store) => store.getMany(keys));
  }

  commit(batch: readonly StoreOp[]): Promise<void> {
    return this.#call(0, (store) => store.commit(batch));
  }

  async *range(options: RangeOptions): AsyncGenerator<StoreEntry> {
    let { gte, lt, limit = Number.POSITIVE_INFINITY } = options;
    while (limit > 0) {
      await this.#settled();
      const opening = this.#opening;
      try {
        const bounds = { ...options, gte, lt, ...(Number.isFinite(limit) ? { limit } : {}) };
        for await (const entry of this.#store.range(bounds)) {
          if (options.reverse === true) lt = entry[0];
          else gte = afterKey(entry[0]);
          limit -= 1;
          yield entry;
          this.#reads += 1;
          await this.#look();
          if (opening !== this.#opening) break;
        }
        if (opening === this.#opening) return;
      } catch (error) {
        // If a reopening closed the iterator, resume; any other error is the store's.
        if (opening === this.#opening || this.#closed || !isClosed(error)) throw error;
      }
    }
  }

  flush(): Promise<void> {
    return this.#call(0, (store) => store.flush());
  }

  purge(): Promise<never> {
    return Promise.resolve(
      fail({ kind: "storeFailed", step: "purge", rule: "the store is only walked over" }),
    );
  }

  snapshot(): never {
    return fail({ kind: "storeFailed", step: "snapshot", rule: "the store is only walked over" });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reopening;
    await this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #settled(): Promise<void> {
    while (this.#reopening !== undefined) await this.#reopening;
  }

  async #call<T>(reads: number, work: (store: Store) => Promise<T>): Promise<T> {
    await this.#settled();
    const call = work(this.#store);
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
      this.#reads += reads;
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    if (this.#reads < readsPerLook) return;
    this.#reads = 0;
    const mapped = await (this.#options.mapped ?? mappedBytes)();
    if (mapped === undefined || mapped <= this.#limit || this.#closed) return;
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    await this.#reopening;
  }

  async #reopen(): Promise<void> {
    await Promise.allSettled(this.#calls);
    this.#opening += 1;
    await this.#store.close();
    this.#store = await this.#options.open();
    const mapped = (await (this.#options.mapped ?? mappedBytes)()) ?? 0;
    // If reopening frees nothing, do not repeat it at every check.
    if (mapped > this.#limit) this.#limit = 2 * mapped;
  }
}

const isClosed = (error: unknown): boolean =>
  error instanceof SigilFault && error.error.kind === "storeFailed";

/** @throws what `open` throws. */
export const openResident = async (options: ResidentOptions): Promise<Store> => {
  const store = await options.open();
  const mapped = (await (options.mapped ?? mappedBytes)()) ?? 0;
  return new ResidentStore(options, store, mapped + options.bytesMax);
};
