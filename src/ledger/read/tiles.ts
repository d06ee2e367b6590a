/**
 * Tiles and entries of the tree, as others are given them: each is proved to lead to the newest root. The entry of a
 * record follows from its envelope; that of an erased one was kept when it was erased. Source: docs/spec/ledger.md §5.
 */
import { equalBytes, parseHash, type Hash } from "@sigil/core/bytes";
import { tileHashesMax } from "@sigil/core/limits";
import { leafHash, type TileCoordinate } from "@sigil/core/merkle";
import { entryOf } from "@sigil/core/record";
import { fail, SigilFault } from "../../errors.ts";
import { entriesOpenedMax, entryOpenMs } from "../../limits.ts";
import type { Store } from "../../storage/store.ts";
import type { Erasure } from "../layout/erasure.ts";
import { erasedEntryKey, recordKey } from "../layout/keyspace.ts";
import type { Sealer } from "../sealing/sealer.ts";
import type { SignedTrees } from "./signed-trees.ts";

export type TileSource = {
  readonly store: () => Store;
  readonly sealer: Pick<Sealer, "open">;
  readonly trees: Pick<SignedTrees, "tile">;
  readonly erasureOf: (tenant: string) => Erasure | undefined;
};

/** Lets others have a turn, and pays for the work done since the last. */
export type BetweenTurns = (spentMs: number) => Promise<void>;

export class Tiles {
  readonly #source: TileSource;

  constructor(source: TileSource) {
    this.#source = source;
  }

  /** @param width of the hashes in the newest tree's tile, at most all. @throws ledgerCorrupt. */
  hashes(tile: TileCoordinate, width: number): Promise<readonly Hash[]> {
    return this.#source.trees.tile(tile, width);
  }

  /**
   * Entries from 256·index on, of 32 bytes each. Holds a few envelopes at a time.
   * @throws notFound if one was erased before entries of erased records were kept; notServing while one is being
   * erased; recordCorrupt, ledgerCorrupt.
   */
  async entries(index: bigint, width: number, betweenTurns: BetweenTurns): Promise<readonly Hash[]> {
    const leaves = await this.hashes({ level: 0, index }, width);
    const first = index * BigInt(tileHashesMax);
    const entries: Hash[] = [];
    for (const [offset, leaf] of leaves.entries()) {
      const position = first + BigInt(offset);
      const entry = await this.#entry(position);
      if (!equalBytes(leafHash(entry), leaf)) {
        const rule = "the record is not the one that the tree holds";
        fail({ kind: "recordCorrupt", position, step: "leaf", rule });
      }
      entries.push(entry);
      if (entries.length % entriesOpenedMax === 0) await betweenTurns(entriesOpenedMax * entryOpenMs);
    }
    return entries;
  }

  async #entry(position: bigint): Promise<Hash> {
    const { store, sealer } = this.#source;
    const stored = await store().get(recordKey(position));
    if (stored === undefined) {
      const rule = "no record is stored at this position";
      return fail({ kind: "recordCorrupt", position, step: "seal", rule });
    }
    try {
      return entryOf((await sealer.open(stored, position)).envelope);
    } catch (error) {
      if (error instanceof SigilFault && error.error.kind === "erased") {
        return this.#erased(position, error.error.tenant);
      }
      throw error;
    }
  }

  async #erased(position: bigint, tenant: string): Promise<Hash> {
    const kept = await this.#source.store().get(erasedEntryKey(position));
    if (kept?.length === 32) return parseHash(kept);
    if (kept !== undefined) {
      return fail({ kind: "recordCorrupt", position, step: "leaf", rule: "the kept entry is malformed" });
    }
    if (this.#source.erasureOf(tenant)?.reported !== true) {
      return fail({ kind: "notServing", rule: "a tenant is being erased" });
    }
    return fail({ kind: "notFound", what: "entry of the erased record", id: String(position) });
  }
}
