/**
 * A store that is closed and opened again, between two reads, whenever it holds more of its files in memory than it
 * may: LevelDB maps whole tables, and keeps at least 64 of them. For who has the place to himself and walks over all of
 * it; a range goes on behind the entry it gave last, so it shows what was written meanwhile.
 */
import { readFile } from "node:fs/promises";
import { fail, SigilFault } from "../errors.ts";
import type { RangeOptions, Store, StoreEntry, StoreOp } from "./store.ts";

/** Bytes of files mapped into this process that are in memory; undefined where the system does not say. */
export const mappedBytes = async (): Promise<number | undefined> => {
  try {
    // In pages: size, resident, shared. Source: proc(5).
    const pages = Number((await readFile("/proc/self/statm", "utf8")).split(" ")[2]);
    return Number.isFinite(pages) ? pages * pageBytes : undefined;
  } catch {
    return undefined;
  }
};

/** Of every system that Node has `/proc` on; where pages are larger, the bound is lower. */
const pageBytes = 4096;

/** Reads between two looks. */
const readsPerLook = 10_000;

export type ResidentOptions = {
  /** Opens the place anew; the lock is free in between. */
  readonly open: () => Promise<Store>;
  /** More than are mapped when it is opened. */
  readonly bytesMax: number;
  /** For tests; `mappedBytes` unless told. */
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
  /** Grows with each opening. */
  #opening = 0;
  #reads = 0;
  #limit: number;
  /** Calls under way on the open store, which wait for an opening and which an opening waits for. */
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
        // Cut off by an opening, it goes on; anything else is the store's.
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
    // Where opening anew frees nothing it is not done again for every look.
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
