/**
 * What is read from records and remembered until a commit changes it. A commit tells its listeners before its caller is
 * answered, so whoever asks after the answer reads anew; and what a read found that a change overtook is answered once
 * and not remembered. What is not there is not remembered either, or callers who make names up could empty it.
 */
import type { CommittedRecord } from "./append/options.ts";
import type { Feed } from "./feed.ts";

/** Where values are held; it decides how many. */
export type HeldValues<Value> = {
  readonly get: (name: string) => Value | undefined;
  readonly set: (name: string, value: Value) => void;
  readonly delete: (name: string) => void;
};

/**
 * What a record makes stale: one name, which has this value from now on if the record itself says it; everything; or
 * nothing.
 */
export type Stale<Value = never> = { readonly name: string; readonly value?: Value } | "all" | undefined;

export class RecordCache<Value> {
  readonly #create: () => HeldValues<Value>;
  #held: HeldValues<Value>;
  #changes = 0;
  /** Stops listening to the feed. */
  readonly close: () => void;

  /** @param create makes an empty place for values. */
  constructor(
    feed: Pick<Feed, "subscribe">,
    create: () => HeldValues<Value>,
    staleBy: (record: CommittedRecord) => Stale<Value>,
  ) {
    this.#create = create;
    this.#held = create();
    this.close = feed.subscribe((records) => {
      for (const record of records) {
        // A record that cannot be understood may have changed anything.
        let stale: Stale<Value> = "all";
        try {
          stale = staleBy(record);
        } finally {
          this.#drop(stale);
        }
      }
    });
  }

  /** Grows with every change. */
  get changes(): number {
    return this.#changes;
  }

  /** A change is about to be committed: what is being read is not remembered. */
  announce(): void {
    this.#changes += 1;
  }

  /** What is remembered of a name. */
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
