/**
 * Exports a tiled log: reads entries alone, makes leaves, tiles and root of them, and publishes a checkpoint only if
 * its root is that one, so that what is exported fits together whatever the source says. Holds a few bundles in memory
 * and a row of hashes for each level. Source: docs/spec/ledger.md §5.
 */
import { equalBytes, utf8Decode, type Hash } from "@sigil/core/bytes";
import { tileHashesMax, tileHeight } from "@sigil/core/limits";
import {
  appendLeaves,
  emptyFrontier,
  formatTile,
  formatTilePath,
  leafHash,
  parseCheckpoint,
  parseEntryBundle,
  parseNote,
  parseTile,
  peaksOf,
  readHashesFromTiles,
  restoreFrontier,
  rootOf,
  tileWidth,
  type Checkpoint,
  type Frontier,
  type TileCoordinate,
} from "@sigil/core/merkle";
import { tilesReadAheadMax } from "../../limits.ts";
import { checkpointName, type TilesDirectory } from "./directory.ts";

/** A tiled log to copy. @throws what keeps it from being read. */
export type ReadTileFile = (path: string) => Promise<Uint8Array>;

export type TilesExportOptions = {
  readonly directory: TilesDirectory;
  readonly read: ReadTileFile;
  readonly onProgress: (done: bigint, total: bigint) => void;
  readonly signal: AbortSignal;
};

type Published = { readonly note: string; readonly checkpoint: Checkpoint };

/** A tree that grows by whole bundles: its frontier, and of each level the row of hashes that is no full tile yet. */
type Growing = { frontier: Frontier; readonly rows: Map<number, Hash[]> };

const span = BigInt(tileHashesMax);
/** The source's log is none that may be published in this place. */
export class LogRefused extends Error {}

const refuse = (rule: string): never => {
  throw new LogRefused(rule);
};

const parsePublished = (bytes: Uint8Array): Published => {
  const note = utf8Decode(bytes);
  return { note, checkpoint: parseCheckpoint(parseNote(note).text) };
};

const entriesPath = (index: bigint, width: number): string =>
  formatTilePath({ kind: "entries", index, width });
const tilePath = ({ level, index }: TileCoordinate, width: number): string =>
  formatTilePath({ kind: "hashes", level, index, width });

/** Of the folder that holds a tile's partial widths. */
const partialFolder = (path: string): string => path.slice(0, path.lastIndexOf("/"));

export class TilesExport {
  readonly #options: TilesExportOptions;
  #published: Published | undefined;
  /** Files of full bundles that an export left behind before it published them. */
  #reused = 0;

  private constructor(options: TilesExportOptions, published: Published | undefined) {
    this.#options = options;
    this.#published = published;
  }

  /** Goes on after what is there. */
  static async open(options: TilesExportOptions): Promise<TilesExport> {
    const bytes = await options.directory.read(checkpointName);
    return new TilesExport(options, bytes && parsePublished(bytes));
  }

  /** Of the exported tree. */
  get size(): bigint {
    return this.#published?.checkpoint.size ?? 0n;
  }

  /**
   * Exports up to the source's checkpoint. @returns whether there was anything to export. @throws LogRefused if the
   * source's log is not the continuation of the exported one, or does not fit its own checkpoint.
   */
  async step(): Promise<boolean> {
    const next = parsePublished(await this.#options.read(checkpointName));
    const before = this.#published?.checkpoint;
    const { origin, size, root } = next.checkpoint;
    if (before !== undefined) {
      if (origin !== before.origin) refuse(`the log is ${origin}, what is exported is ${before.origin}`);
      if (size < before.size) refuse(`the log has ${size} entries, ${before.size} are exported`);
      if (size === before.size) {
        return equalBytes(root, before.root) ? false : refuse(`the root at ${size} entries is another one`);
      }
    }
    await this.#copy(next.checkpoint).catch(async (error: unknown) => {
      if (!(error instanceof LogRefused) || this.#reused === 0) throw error;
      // What lay there need not be of this log.
      await this.#copy(next.checkpoint, { onPresent: "read again" });
    });
    await this.#options.directory.publish(next.note);
    this.#published = next;
    await this.#sweep(before?.size ?? 0n, size);
    return true;
  }

  async #copy(
    { size, root }: Checkpoint,
    { onPresent = "reuse" }: { readonly onPresent?: "reuse" | "read again" } = {},
  ): Promise<void> {
    const { directory, onProgress, signal } = this.#options;
    const before = this.#published?.checkpoint;
    const first = this.size / span;
    const growing = await this.#restore(first * span);
    this.#reused = 0;
    for await (const { index, bundle, isPresent } of this.#bundles(first, size, onPresent)) {
      signal.throwIfAborted();
      const leaves = parseEntryBundle(bundle).map(leafHash);
      const width = widthOf(index, size);
      if (leaves.length !== width) refuse(`a bundle of ${width} entries has ${leaves.length}`);
      if (before !== undefined && index === first) requireBefore(growing.frontier, leaves, before);
      if (!isPresent) await directory.write(entriesPath(index, width), bundle);
      await this.#grow(growing, leaves);
      onProgress(growing.frontier.size, size);
    }
    for (const [level, row] of growing.rows) {
      if (row.length === 0) continue;
      const index = (size >> BigInt(tileHeight * level)) / span;
      await directory.write(tilePath({ level, index }, row.length), formatTile(row));
    }
    if (!equalBytes(rootOf(growing.frontier), root)) {
      refuse(`the entries do not give the root of the checkpoint at ${size}`);
    }
  }

  /** Bundles in order, some read ahead. */
  async *#bundles(first: bigint, size: bigint, onPresent: "reuse" | "read again") {
    const ahead: { readonly index: bigint; readonly reading: Promise<Read> }[] = [];
    let next = first;
    const begin = (): void => {
      const reading = this.#bundle(next, widthOf(next, size), onPresent);
      // Awaited later, or not at all when one before it fails.
      reading.catch(() => {});
      ahead.push({ index: next, reading });
      next += 1n;
    };
    while (next * span < size && ahead.length < tilesReadAheadMax) begin();
    for (let taken = ahead.shift(); taken !== undefined; taken = ahead.shift()) {
      const read = await taken.reading;
      if (next * span < size) begin();
      yield { index: taken.index, ...read };
    }
  }

  async #bundle(index: bigint, width: number, onPresent: "reuse" | "read again"): Promise<Read> {
    const { directory, read } = this.#options;
    const path = entriesPath(index, width);
    const present = width === tileHashesMax && onPresent === "reuse" ? await directory.read(path) : undefined;
    if (present === undefined) return { bundle: await read(path), isPresent: false };
    this.#reused += 1;
    return { bundle: present, isPresent: true };
  }

  /** Adds leaves, and writes the tiles that become full. */
  async #grow(growing: Growing, leaves: readonly Hash[]): Promise<void> {
    const { frontier, nodes } = appendLeaves(growing.frontier, leaves);
    growing.frontier = frontier;
    for (const { level, index, hash } of nodes) {
      if (level % tileHeight !== 0) continue;
      const tile = { level: level / tileHeight, index: index / span };
      const row = growing.rows.get(tile.level) ?? [];
      growing.rows.set(tile.level, row);
      row.push(hash);
      if (row.length < tileHashesMax) continue;
      await this.#options.directory.write(tilePath(tile, tileHashesMax), formatTile(row));
      growing.rows.set(tile.level, []);
    }
  }

  /** The exported tree's beginning, of a multiple of 256 leaves. */
  async #restore(size: bigint): Promise<Growing> {
    if (size === 0n) return { frontier: emptyFrontier, rows: new Map() };
    const peaks = await readHashesFromTiles((tiles) =>
      Promise.all(tiles.map((tile) => this.#readTile(tile))),
    )(peaksOf(size));
    const rows = new Map<number, Hash[]>();
    for (let level = 1; size >> BigInt(tileHeight * level) > 0n; level += 1) {
      const tile = { level, index: (size >> BigInt(tileHeight * level)) / span };
      const width = tileWidth(tile, size);
      if (width > 0) rows.set(level, (await this.#readTile(tile)).slice(0, width));
    }
    return { frontier: restoreFrontier(size, peaks), rows };
  }

  /** A tile of the exported tree. */
  async #readTile(tile: TileCoordinate): Promise<readonly Hash[]> {
    const { directory } = this.#options;
    const width = tileWidth(tile, this.size);
    // A later export that was killed may have removed it, and left the full one.
    const bytes =
      (await directory.read(tilePath(tile, width))) ?? (await directory.read(tilePath(tile, tileHashesMax)));
    if (bytes === undefined || bytes.length < 32 * width)
      return refuse(`${tilePath(tile, width)} is missing from the export`);
    return parseTile(bytes.subarray(0, 32 * width));
  }

  /** Partial tiles go when the full one is published: readers of an older checkpoint take that. */
  async #sweep(before: bigint, size: bigint): Promise<void> {
    const { directory } = this.#options;
    for (let level = 0; before >> BigInt(tileHeight * level) > 0n; level += 1) {
      const tile = { level, index: (before >> BigInt(tileHeight * level)) / span };
      if (tileWidth(tile, before) === 0 || tileWidth(tile, size) < tileHashesMax) continue;
      await directory.removePartial(partialFolder(tilePath(tile, 1)));
      if (level === 0) await directory.removePartial(partialFolder(entriesPath(tile.index, 1)));
    }
  }
}

type Read = { readonly bundle: Uint8Array; readonly isPresent: boolean };

const widthOf = (index: bigint, size: bigint): number => tileWidth({ level: 0, index }, size);

/** The bundle that the exported tree ends in must begin as it did. @throws LogRefused. */
const requireBefore = (frontier: Frontier, leaves: readonly Hash[], before: Checkpoint): void => {
  const known = leaves.slice(0, Number(before.size - frontier.size));
  if (equalBytes(rootOf(appendLeaves(frontier, known).frontier), before.root)) return;
  refuse(`the log does not begin with the ${before.size} entries that are exported`);
};
