/**
 * The ledger as a tiled transparency log: a published checkpoint that moves at an interval, and every tile and bundle
 * of entries of its tree. Nothing past it is given, so tiles say no more of the ledger's size than the checkpoint.
 * Source: docs/spec/ledger.md §5; C2SP tlog-tiles.
 */
import { utf8Encode } from "@sigil/core/bytes";
import {
  formatEntryBundle,
  formatTile,
  parseTilePath,
  tileWidth,
  type TileResource,
} from "@sigil/core/merkle";
import { fail } from "../errors.ts";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { SignedTree } from "../ledger/read/signed-trees.ts";

export type TilesOptions = {
  readonly readers: "authenticated" | "everybody";
  /** The least time between two published checkpoints. */
  readonly intervalMs: number;
  readonly monotonicMs: () => number;
  /** The newest checkpoint that may be published, if a policy says so; undefined where it says so of none yet. */
  readonly cosigned?: () => Published["tree"] | undefined;
};

type Published = {
  readonly tree: Pick<SignedTree, "checkpoint" | "size" | "root">;
  readonly sinceMs: number;
};

type TiledLedger = Pick<LedgerReader, "tree" | "trees" | "tiles">;

export class PublishedTiles {
  readonly #ledger: TiledLedger;
  readonly #options: TilesOptions;
  #published: Published | undefined;

  constructor(ledger: TiledLedger, options: TilesOptions) {
    this.#ledger = ledger;
    this.#options = options;
  }

  /**
   * @param path "checkpoint", or that of a tile or bundle in its one spelling.
   * @throws unauthenticated; invalidField for another path; notFound; notServing, recordCorrupt, ledgerCorrupt.
   */
  async file(caller: Caller, path: string, call: Pick<CallContext, "pace" | "signal">): Promise<Uint8Array> {
    if (caller.credential === "none" && this.#options.readers === "authenticated") {
      const rule = "tiles are not published to everybody";
      fail({ kind: "unauthenticated", reason: "CREDENTIALS_MISSING", rule });
    }
    if (path === "checkpoint") {
      const { checkpoint } = await this.#ledger.trees.withMldsa44(this.#current());
      return utf8Encode(checkpoint);
    }
    return this.#tile(parseTilePath(path), path, call);
  }

  async #tile(
    resource: TileResource,
    path: string,
    { pace, signal }: Pick<CallContext, "pace" | "signal">,
  ): Promise<Uint8Array> {
    const { index, width } = resource;
    const level = resource.kind === "entries" ? 0 : resource.level;
    // A reader whose checkpoint is older is served as well: a tree only grows.
    if (width > tileWidth({ level, index }, this.#current().size))
      fail({ kind: "notFound", what: "tile", id: path });
    const { tiles } = this.#ledger;
    if (resource.kind === "hashes") return formatTile(await tiles.hashes({ level, index }, width));
    const entries = await tiles.entries(index, width, async (spentMs) => {
      pace?.charge(spentMs);
      await pace?.pause();
      if (signal.aborted) fail({ kind: "cancelled" });
    });
    return formatEntryBundle(entries);
  }

  /** The published tree. The next is published by who asks after the interval: while nobody asks, none is due. */
  #current(): Published["tree"] {
    const nowMs = this.#options.monotonicMs();
    if (this.#published === undefined || nowMs - this.#published.sinceMs >= this.#options.intervalMs) {
      this.#published = { tree: this.#next(), sinceMs: nowMs };
    }
    return this.#published.tree;
  }

  /** The tree to publish next: it is on disk, and so is every tile of it. @throws notServing. */
  #next(): Published["tree"] {
    const { cosigned } = this.#options;
    const { checkpoint, size, root } =
      (cosigned === undefined ? this.#ledger.tree : cosigned()) ??
      fail({ kind: "notServing", rule: "no checkpoint is cosigned yet" });
    return { checkpoint, size, root };
  }
}
