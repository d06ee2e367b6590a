/**
 * The anchor: a recent checkpoint kept outside the database's own files, so that a truncated database or one restored
 * from an older copy is detected. Written to a temporary file, synced, then renamed over the old one: a crash leaves
 * either the old file or the new one, complete.
 */
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { fail } from "../../errors.ts";
import { anchorDelayMsMax, anchorRecordsMax } from "../../limits.ts";

export interface Anchor {
  /** The note last written; undefined if no anchor exists. */
  read(): Promise<string | undefined>;
  write(note: string): Promise<void>;
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

/** Replaces a file atomically, mode 0600. */
export const replaceFile = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.new`;
  await using directory = await open(dirname(path), "r");
  await using file = await open(temporary, "w", 0o600);
  await file.writeFile(text);
  await file.sync();
  await rename(temporary, path);
  await directory.sync();
};

export const fileAnchor = (path: string): Anchor => ({
  read: async () => {
    try {
      return await readFile(path, "utf8");
    } catch (cause) {
      if (hasCode(cause, "ENOENT")) return undefined;
      return fail({ kind: "storeFailed", step: "read anchor", rule: "the anchor cannot be read" }, { cause });
    }
  },
  write: async (note) => {
    try {
      await replaceFile(path, note);
    } catch (cause) {
      fail({ kind: "storeFailed", step: "write anchor", rule: "the anchor cannot be written" }, { cause });
    }
  },
});

/** An in-memory anchor, for in-memory stores. */
export const memoryAnchor = (): Anchor => {
  let held: string | undefined;
  return {
    read: async () => held,
    write: async (note) => {
      held = note;
    },
  };
};

/** Keeps the anchor at most a second and 1,000 records behind the ledger; never ahead of it. */
export class AnchorKeeper {
  readonly #anchor: Anchor;
  readonly #onError: (error: unknown) => void;
  #written = 0n;
  #latest: { readonly size: bigint; readonly note: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(anchor: Anchor, onError: (error: unknown) => void) {
    this.#anchor = anchor;
    this.#onError = onError;
  }

  /** Called at start with the ledger's size and note; updates the anchor to them. */
  async start(size: bigint, note: string): Promise<void> {
    this.#latest = { size, note };
    this.#written = 0n;
    await this.flush();
  }

  /** Waits until `records` more may be committed. @throws storeFailed when the anchor cannot be written. */
  async beforeCommit(records: number): Promise<void> {
    const size = this.#latest?.size ?? 0n;
    if (size + BigInt(records) - this.#written > BigInt(anchorRecordsMax)) await this.flush();
  }

  /** Called when the batch that ends at `size` is on disk. */
  committed(size: bigint, note: string): void {
    this.#latest = { size, note };
    // Written in the background well before the bound is reached, so that commits seldom wait for it.
    if (size - this.#written > BigInt(anchorRecordsMax / 4) && !this.#busy) {
      this.flush().catch(this.#onError);
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush().catch(this.#onError);
    }, anchorDelayMsMax);
  }

  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const write = async (): Promise<void> => {
      const latest = this.#latest;
      if (latest === undefined || latest.size === this.#written) return;
      this.#busy = true;
      try {
        await this.#anchor.write(latest.note);
        this.#written = latest.size;
      } finally {
        this.#busy = false;
      }
    };
    const turn = this.#writing.then(write, write);
    this.#writing = turn;
    return turn;
  }

  /** Discards the unwritten state: after a failure, recovery reads the true state from the store. */
  abandon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#latest = undefined;
  }
}
