/** Tiles: which hashes they hold, and that they answer for every complete subtree. */
import { expect } from "chai";
import * as fc from "fast-check";
import { describe, it } from "mocha";
import type { Hash } from "../../../src/core/bytes.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import { checkInclusion, proveConsistency, proveInclusion } from "../../../src/core/merkle/proof.ts";
import {
  foldTile,
  formatEntryBundle,
  formatTile,
  formatTilePath,
  parseEntryBundle,
  parseTile,
  parseTilePath,
  readHashesFromTiles,
  tileOf,
  tileWidth,
} from "../../../src/core/merkle/tile.ts";
import type { ReadTiles, TileResource } from "../../../src/core/merkle/tile.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../../src/core/merkle/tree.ts";
import { naiveConsistency, naiveInclusion, naiveRoot, sampleEntries } from "./naive-tree.ts";

const size = 1000;
const entries = sampleEntries(size);
const grown = appendLeaves(
  emptyFrontier,
  entries.map((entry) => leafHash(entry)),
);

/** What a store of tiles holds: every eighth level, by tile. */
const tiles = new Map<string, Hash[]>();
for (const node of grown.nodes) {
  if (node.level % 8 !== 0) continue;
  const { tile, from } = tileOf(node);
  const key = `${tile.level}/${tile.index}`;
  const hashes = tiles.get(key) ?? [];
  expect(hashes.length).to.equal(from);
  tiles.set(key, [...hashes, node.hash]);
}
const readTiles: ReadTiles = async (wanted) =>
  wanted.map(({ level, index }) => tiles.get(`${level}/${index}`) ?? []);

describe("tiles", () => {
  it("place a node in the tile of its level, at its run of slots", () => {
    const run = (level: number, index: bigint) => tileOf({ level, index });
    expect(run(0, 0n)).to.deep.equal({ tile: { level: 0, index: 0n }, from: 0, to: 1 });
    expect(run(0, 256n)).to.deep.equal({ tile: { level: 0, index: 1n }, from: 0, to: 1 });
    expect(run(3, 33n)).to.deep.equal({ tile: { level: 0, index: 1n }, from: 8, to: 16 });
    expect(run(7, 1n)).to.deep.equal({ tile: { level: 0, index: 0n }, from: 128, to: 256 });
    expect(run(8, 3n)).to.deep.equal({ tile: { level: 1, index: 0n }, from: 3, to: 4 });
    expect(run(9, 128n)).to.deep.equal({ tile: { level: 1, index: 1n }, from: 0, to: 2 });
    expect(run(63, 1n)).to.deep.equal({ tile: { level: 7, index: 0n }, from: 128, to: 256 });
  });

  it("fold to every complete subtree that an append gave", async () => {
    const folded = await readHashesFromTiles(readTiles)(grown.nodes);
    expect(folded.map(toHex)).to.deep.equal(grown.nodes.map(({ hash }) => toHex(hash)));
  });

  it("are enough to prove inclusion and consistency, read in one go", async () => {
    let reads = 0;
    const counting: ReadTiles = (wanted) => {
      reads += 1;
      return readTiles(wanted);
    };
    const read = readHashesFromTiles(counting);
    const proof = await proveInclusion(777n, 1000n, read);
    expect(proof.map(toHex)).to.deep.equal(naiveInclusion(777, entries).map(toHex));
    const grownProof = await proveConsistency(300n, 1000n, read);
    expect(grownProof.map(toHex)).to.deep.equal(naiveConsistency(300, entries).map(toHex));
    expect(reads).to.equal(2);
    const leaf = leafHash(entries[777] ?? new Uint8Array());
    const root = rootOf(grown.frontier);
    const claim = { leafIndex: 777n, treeSize: 1000n, leafHash: leaf, root, proof };
    expect(checkInclusion(claim)).to.deep.equal({ kind: "ok" });
  });

  it("give no hash when a tile is too short", async () => {
    const read = readHashesFromTiles(async (wanted) => wanted.map(() => []));
    const error = await read([{ level: 0, index: 0n }]).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Error);
  });

  it("have the widths of the example of 70,000 leaves", () => {
    const width = (level: number, index: bigint): number => tileWidth({ level, index }, 70_000n);
    expect([width(0, 272n), width(0, 273n), width(0, 274n)]).to.deep.equal([256, 112, 0]);
    expect([width(1, 0n), width(1, 1n), width(1, 2n)]).to.deep.equal([256, 17, 0]);
    expect([width(2, 0n), width(3, 0n)]).to.deep.equal([1, 0]);
    expect(tileWidth({ level: 0, index: 0n }, 0n)).to.equal(0);
  });

  it("hold as many hashes as their width says", () => {
    for (const [key, hashes] of tiles) {
      const [level = "", index = ""] = key.split("/");
      expect(tileWidth({ level: Number(level), index: BigInt(index) }, BigInt(size))).to.equal(hashes.length);
    }
  });

  it("fold only runs of 1, 2, 4 … 256 hashes", () => {
    const hashes = tiles.get("0/0") ?? [];
    expect(toHex(foldTile(hashes))).to.equal(toHex(naiveRoot(entries.slice(0, 256))));
    for (const count of [0, 3, 5, 255]) expect(() => foldTile(hashes.slice(0, count))).to.throw();
    expect(() => foldTile([...hashes, ...hashes])).to.throw();
  });

  it("come back from their bytes", () => {
    for (const hashes of tiles.values()) {
      expect(parseTile(formatTile(hashes)).map(toHex)).to.deep.equal(hashes.map(toHex));
    }
    for (const bytes of [0, 31, 33, 257 * 32]) {
      expect(() => parseTile(new Uint8Array(bytes))).to.throw(SigilFault);
    }
  });

  it("have paths that come back for every coordinate", () => {
    const width = fc.integer({ min: 1, max: 256 });
    const index = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const resource: fc.Arbitrary<TileResource> = fc.oneof(
      fc.record({ kind: fc.constant("hashes"), level: fc.integer({ min: 0, max: 63 }), index, width }),
      fc.record({ kind: fc.constant("entries"), index, width }),
    );
    fc.assert(
      fc.property(resource, (wanted) => {
        expect(parseTilePath(formatTilePath(wanted))).to.deep.equal({ ...wanted });
      }),
      { numRuns: 200 },
    );
  });
});

describe("entry bundles", () => {
  it("come back from their bytes", () => {
    const bundle = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 });
    fc.assert(
      fc.property(bundle, (held) => {
        expect(parseEntryBundle(formatEntryBundle(held)).map(toHex)).to.deep.equal(held.map(toHex));
      }),
      { numRuns: 30 },
    );
  });

  it("begin each entry with its length in two bytes, most significant first", () => {
    const bytes = formatEntryBundle([Uint8Array.of(7), new Uint8Array(258)]);
    expect(bytes.slice(0, 6)).to.deep.equal(Uint8Array.of(0, 1, 7, 1, 2, 0));
    expect(bytes).to.have.length(3 + 260);
  });

  it("are refused when empty, cut short or of more than 256 entries", () => {
    const whole = formatEntryBundle([Uint8Array.of(1, 2, 3)]);
    const many = formatEntryBundle(Array.from({ length: 256 }, () => new Uint8Array(0)));
    for (const bytes of [
      new Uint8Array(0),
      whole.slice(0, -1),
      whole.slice(0, 1),
      new Uint8Array(many.length + 2),
    ]) {
      expect(() => parseEntryBundle(bytes)).to.throw(SigilFault);
    }
  });
});
