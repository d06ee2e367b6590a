/**
 * Tiles and entry bundles of C2SP tlog-tiles: coordinates, paths, bytes. Pure. Height 8: at most 256 hashes (8,192
 * bytes) a tile. Slot s of tile (L, N) is the complete subtree of level 8·L and index 256·N + s, so a store of tiles
 * alone gives every complete subtree. Source: docs/spec/ledger.md §5.
 */
import { concatBytes, parseHash } from "../bytes.ts";
import type { Hash } from "../bytes.ts";
import { assert, invalidField } from "../errors.ts";
import { tileHashesMax, tileHeight, tileLevelMax, treeSizeMax } from "../limits.ts";
import { nodeHash } from "./hash.ts";
import type { ReadHashes } from "./proof.ts";
import type { NodeCoordinate } from "./tree.ts";

export interface TileCoordinate {
  readonly level: number;
  readonly index: bigint;
}

/** A run of slots: a complete subtree's root is the fold of slots [from, to) of the tile. */
export interface TileRun {
  readonly tile: TileCoordinate;
  readonly from: number;
  readonly to: number;
}

/** The resource named by a path. `width` in hashes or entries, 1–256; 256 is a full tile. */
export type TileResource =
  | { readonly kind: "hashes"; readonly level: number; readonly index: bigint; readonly width: number }
  | { readonly kind: "entries"; readonly index: bigint; readonly width: number };

/** Reads current tiles, at least as wide as the runs needed, in the order requested. */
export type ReadTiles = (tiles: readonly TileCoordinate[]) => Promise<readonly (readonly Hash[])[]>;

/** The tile and slots whose fold is the node. A node of level 8·L is one slot of a tile of level L. */
export const tileOf = (node: NodeCoordinate): TileRun => {
  const within = node.level % tileHeight;
  const tilesShift = BigInt(tileHeight - within);
  const from = Number(node.index & ((1n << tilesShift) - 1n)) << within;
  return {
    tile: { level: (node.level - within) / tileHeight, index: node.index >> tilesShift },
    from,
    to: from + (1 << within),
  };
};

/** Number of hashes in the tile for a tree of `treeSize` leaves, 0–256. */
export const tileWidth = (tile: TileCoordinate, treeSize: bigint): number => {
  const complete = treeSize >> BigInt(tileHeight * tile.level);
  const here = complete - tile.index * BigInt(tileHashesMax);
  return here <= 0n ? 0 : Number(here < BigInt(tileHashesMax) ? here : BigInt(tileHashesMax));
};

/** Root over 2^k hashes of adjacent subtrees of equal size, left to right, k ≤ 8. */
export const foldTile = (hashes: readonly Hash[]): Hash => {
  const { length } = hashes;
  assert(
    length >= 1 && length <= tileHashesMax && (length & (length - 1)) === 0,
    "a run is 1, 2, 4 … 256 hashes",
  );
  let row = hashes;
  while (row.length > 1) {
    const above: Hash[] = [];
    for (let slot = 0; slot + 1 < row.length; slot += 2) {
      const [left, right] = [row[slot], row[slot + 1]];
      assert(left !== undefined && right !== undefined, "a row has pairs");
      above.push(nodeHash(left, right));
    }
    row = above;
  }
  const [root] = row;
  assert(root !== undefined, "a fold ends in one hash");
  return root;
};

const tileKey = (tile: TileCoordinate): string => `${tile.level}/${tile.index}`;

/** Reads complete subtrees from a store of tiles; requests each tile once per call. */
export const readHashesFromTiles =
  (readTiles: ReadTiles): ReadHashes =>
  async (nodes) => {
    const runs = nodes.map(tileOf);
    const tiles = new Map(runs.map(({ tile }) => [tileKey(tile), tile]));
    const contents = await readTiles([...tiles.values()]);
    assert(contents.length === tiles.size, "the store returned another number of tiles");
    const byKey = new Map([...tiles.keys()].map((key, order) => [key, contents[order] ?? []]));
    return runs.map(({ tile, from, to }) => foldTile((byKey.get(tileKey(tile)) ?? []).slice(from, to)));
  };

/** The tile's bytes: its hashes, concatenated. */
export const formatTile = (hashes: readonly Hash[]): Uint8Array => concatBytes(...hashes);

/** @throws invalidField unless 1–256 whole hashes. */
export const parseTile = (bytes: Uint8Array): readonly Hash[] => {
  const width = bytes.length / 32;
  if (!Number.isInteger(width) || width < 1 || width > tileHashesMax) {
    invalidField("tile", `must be 1 to ${tileHashesMax} hashes of 32 bytes, got ${bytes.length} bytes`);
  }
  return Array.from({ length: width }, (_, slot) => parseHash(bytes.subarray(32 * slot, 32 * slot + 32)));
};

/** Encodes a bundle: u16be length ‖ entry, concatenated. */
export const formatEntryBundle = (entries: readonly Uint8Array[]): Uint8Array => {
  assert(entries.length >= 1 && entries.length <= tileHashesMax, "a bundle holds 1 to 256 entries");
  return concatBytes(
    ...entries.flatMap((entry) => {
      assert(entry.length <= 0xffff, "an entry's length fits 16 bits");
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
    }),
  );
};

/** @throws invalidField unless 1–256 whole entries. */
export const parseEntryBundle = (bytes: Uint8Array): readonly Uint8Array[] => {
  const entries: Uint8Array[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (entries.length === tileHashesMax)
      invalidField("entry_bundle", `must hold at most ${tileHashesMax} entries`);
    const start = offset + 2;
    const end = start + (((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0));
    if (start > bytes.length || end > bytes.length)
      invalidField("entry_bundle", "must not end inside an entry");
    entries.push(bytes.slice(start, end));
    offset = end;
  }
  if (entries.length === 0) invalidField("entry_bundle", "must hold an entry");
  return entries;
};

/** Groups of three digits, each but the last prefixed with x: 1234067 is `x001/x234/067`. */
const formatIndex = (index: bigint): string => {
  const digits = index.toString();
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/\d{3}/g) ?? [];
  return groups.map((group, order) => (order === groups.length - 1 ? group : `x${group}`)).join("/");
};

/** `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`. */
export const formatTilePath = (resource: TileResource): string => {
  const { index, width } = resource;
  assert(index >= 0n && index <= treeSizeMax, "a tile index is a uint64");
  assert(Number.isInteger(width) && width >= 1 && width <= tileHashesMax, "a tile is 1 to 256 wide");
  const folder = resource.kind === "entries" ? "entries" : `${resource.level}`;
  const partial = width === tileHashesMax ? "" : `.p/${width}`;
  return `tile/${folder}/${formatIndex(index)}${partial}`;
};

// Seven groups of three digits fit every uint64; the bound keeps numbers short.
const PATH = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,6}\d{3})(?:\.p\/(\d{1,3}))?$/;

/** Strict: each resource has exactly one path. @throws invalidField. */
export const parseTilePath = (path: string): TileResource => {
  const match = PATH.exec(path);
  const folder = match?.[1];
  const groups = match?.[2];
  if (folder === undefined || groups === undefined) {
    return invalidField("tile_path", "must be tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]");
  }
  const index = BigInt(groups.replaceAll(/[x/]/g, ""));
  const width = match?.[3] === undefined ? tileHashesMax : Number(match[3]);
  if (match?.[3] !== undefined && (width < 1 || width >= tileHashesMax)) {
    invalidField("tile_path", "a partial tile is 1 to 255 wide");
  }
  if (index > treeSizeMax) invalidField("tile_path", "the index must be a uint64");
  if (folder !== "entries" && Number(folder) > tileLevelMax) {
    invalidField("tile_path", `the level must be at most ${tileLevelMax}`);
  }
  const resource: TileResource =
    folder === "entries"
      ? { kind: "entries", index, width }
      : { kind: "hashes", level: Number(folder), index, width };
  if (formatTilePath(resource) !== path) invalidField("tile_path", "must have no needless zeroes");
  return resource;
};
