/**
 * What is read from records and remembered until a commit changes it. A commit tells its listeners before its caller is
 * answered, so whoever asks after the answer reads anew; and what a read found that a change overtook is answered once and
 * not remembered. What is not there is not remembered either, or callers who make names up could empty it.
 */
import type { RecordBody } from "@sigil/core/record";
import type { Feed } from "./feed.ts";

/** Where values are held; it decides how many. */
export type HeldValues<Value> = {
  readonly get: (name: string) => Value | undefined;
  readonly set: (name: string, value: Value) => void;
  readonly delete: (name: string) => void;
};

/** What a record makes stale: one name, everything, or nothing. */
export type Stale = { readonly name: string } | "all" | undefined;

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
    staleBy: (body: RecordBody) => Stale,
  ) {
    this.#create = create;
    this.#held = create();
    this.close = feed.subscribe((records) => {
      for (const { body } of records) {
        // A record that cannot be understood may have changed anything.
        let stale: Stale = "all";
        try {
          stale = staleBy(body);
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

  async find(name: string, read: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const known = this.#held.get(name);
    if (known !== undefined) return known;
    const seen = this.#changes;
    const value = await read();
    if (value !== undefined && seen === this.#changes) this.#held.set(name, value);
    return value;
  }

  #drop(stale: Stale): void {
    if (stale === undefined) return;
    this.#changes += 1;
    if (stale === "all") this.#held = this.#create();
    else this.#held.delete(stale.name);
  }
}
