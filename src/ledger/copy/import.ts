/**
 * Checks exported entries against the tree as they stream into a backup or a store. Each group's leaves must give its
 * checkpoint's root, and each record must have a leaf in its group, so that every accepted prefix is a prefix of a
 * ledger. Holds one group in memory. Checking a record against its leaf needs its key; fsck does that.
 */
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { parseCheckpoint, parseNote, appendLeaves, rootOf, type Frontier } from "@sigil/core/merkle";
import type { Store, StoreEntry, StoreOp } from "../../storage/store.ts";
import { bookkeepingFamilies } from "./export.ts";
import { parseGroup, type GroupEntry } from "../layout/group.ts";
import { positionOf } from "../layout/keyspace.ts";

/** The state at the end of a complete group. */
export type Passed = { readonly frontier: Frontier; readonly root: Hash; readonly checkpoint: string };

const familyOf = (key: Uint8Array): string => String.fromCharCode(key[0] ?? 0);

export const isBookkeeping = (key: Uint8Array): boolean =>
  bookkeepingFamilies.some((family) => family === familyOf(key));

const refuse = (position: bigint, rule: string): never => fail({ kind: "ledgerCorrupt", position, rule });

/** Takes group entries and records in the order of an export. */
export class PassageCheck {
  readonly #origin: string;
  readonly #watchedSizes: readonly bigint[];
  #frontier: Frontier;
  #group: GroupEntry | undefined;
  #records = 0;
  /** Roots at the watched sizes reached so far. */
  readonly watchedRoots = new Map<bigint, Hash>();

  /** @param options.frontier where the entries begin. @param options.watchedSizes sizes whose roots to keep. */
  constructor(options: {
    readonly origin: string;
    readonly frontier: Frontier;
    readonly watchedSizes?: readonly bigint[];
  }) {
    this.#origin = options.origin;
    this.#frontier = options.frontier;
    this.#watchedSizes = (options.watchedSizes ?? []).toSorted((a, b) => (a < b ? -1 : 1));
  }

  get size(): bigint {
    return this.#frontier.size;
  }

  /** True unless a group is incomplete. */
  get isWhole(): boolean {
    return this.#group === undefined;
  }

  /**
   * @returns the state after a group, with the group's last record; else undefined. @throws ledgerCorrupt,
   * malformedCheckpoint.
   */
  add([key, value]: StoreEntry): Passed | undefined {
    const family = familyOf(key);
    if (family === "b") return this.#begin(positionOf(key), value);
    if (family !== "r") return refuse(this.size, "an entry is neither a record nor a group's");
    const position = positionOf(key);
    const expected = this.size + BigInt(this.#records);
    if (this.#group === undefined || position !== expected) {
      return refuse(expected, `expected the record here, got position ${position}`);
    }
    this.#records += 1;
    return this.#records === this.#group.leaves.length ? this.#end(this.#group) : undefined;
  }

  #begin(position: bigint, value: Uint8Array): undefined {
    if (this.#group !== undefined || position !== this.size) {
      refuse(this.size, `expected the group entry here, got position ${position}`);
    }
    this.#group = parseGroup(position, value);
    this.#records = 0;
  }

  #end({ leaves, checkpoint: note }: GroupEntry): Passed {
    const checkpoint = parseCheckpoint(parseNote(note).text);
    this.#grow(leaves);
    const root = rootOf(this.#frontier);
    if (checkpoint.origin !== this.#origin) refuse(this.size, "the checkpoint names another origin");
    if (checkpoint.size !== this.size || !equalBytes(checkpoint.root, root)) {
      refuse(this.size, `the leaves give the root ${toHex(root)}, not the checkpoint's`);
    }
    this.#group = undefined;
    return { frontier: this.#frontier, root, checkpoint: note };
  }

  #grow(leaves: readonly Hash[]): void {
    const from = this.size;
    let taken = 0;
    const take = (end: number): void => {
      this.#frontier = appendLeaves(this.#frontier, leaves.slice(taken, end)).frontier;
      taken = end;
    };
    for (const size of this.#watchedSizes) {
      if (size <= from || size > from + BigInt(leaves.length)) continue;
      take(Number(size - from));
      this.watchedRoots.set(size, rootOf(this.#frontier));
    }
    take(leaves.length);
  }
}

const importBatchBytesMax = 4 << 20;

/** Writes entries in bounded batches. A crash leaves a partial store: start again with an empty one. */
export const importEntries = async (
  store: Store,
  entries: AsyncIterable<StoreEntry> | Iterable<StoreEntry>,
): Promise<void> => {
  let batch: StoreOp[] = [];
  let bytes = 0;
  for await (const [key, value] of entries) {
    batch.push({ kind: "put", key, value });
    bytes += key.length + value.length;
    if (bytes < importBatchBytesMax) continue;
    await store.commit(batch);
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) await store.commit(batch);
};
