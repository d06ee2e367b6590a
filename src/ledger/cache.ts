/**
 * A cache of values read from records, invalidated by commits. A commit notifies its listeners before its caller is
 * answered, so a read after the answer sees the change. The result of a read that a commit overtook is returned but not
 * cached. Absent values are not cached, or callers could evict everything by inventing names.
 */
import type { CommittedRecord } from "./append/options.ts";
import type { Feed } from "./feed.ts";

/** The store of cached values, which bounds their number. */
export type HeldValues<Value> = {
  readonly get: (name: string) => Value | undefined;
  readonly set: (name: string, value: Value) => void;
  readonly delete: (name: string) => void;
};

/** What a record invalidates: one name (with its new value if the record holds it), everything, or nothing. */
export type Stale<Value = never> = { readonly name: string; readonly value?: Value } | "all" | undefined;

export class RecordCache<Value> {
  readonly #create: () => HeldValues<Value>;
  #held: HeldValues<Value>;
  #changes = 0;
  /** Unsubscribes from the feed. */
  readonly close: () => void;

  /** @param create makes an empty store of values. */
  constructor(
    feed: Pick<Feed, "subscribe">,
    create: () => HeldValues<Value>,
    staleBy: (record: CommittedRecord) => Stale<Value>,
  ) {
    this.#create = create;
    this.#held = create();
    this.close = feed.subscribe((records) => {
      for (const record of records) {
        // A record that cannot be parsed may have changed anything.
        let stale: Stale<Value> = "all";
        try {
          stale = staleBy(record);
        } finally {
          this.#drop(stale);
        }
      }
    });
  }

  /** Increases with every change. */
  get changes(): number {
    return this.#changes;
  }

  /** Announces a change that is about to commit: reads in flight are not cached. */
  announce(): void {
    this.#changes += 1;
  }

  /** The cached value of a name. */
  held(name: string): Value | undefined {
    return this.#held.get(name);
  }

  async find(name: string, read: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const known = this.#held.get(name);
    if (known !== undefined) return known;
    const seen = this.#changes;
    const value = await read();
    if (value !== undefined && seen === this.#changes) this.#held.set(name, value);
    return value;
  }

  #drop(stale: Stale<Value>): void {
    if (stale === undefined) return;
    this.#changes += 1;
    if (stale === "all") this.#held = this.#create();
    else if (stale.value === undefined) this.#held.delete(stale.name);
    else this.#held.set(stale.name, stale.value);
  }
}
