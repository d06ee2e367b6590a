/**
 * Golden vectors of trees, proofs and tiles: `test/vectors/merkle-golden.json`, `merkle-tiles.json`. Expected values
 * come from the naive tree of the tests and from rules written here, never from the code under test.
 */
import { toHex } from "@sigil/core/bytes";
import {
  naiveConsistency,
  naiveInclusion,
  naiveLeaf,
  naiveRoot,
  sampleEntries,
  sampleEntry,
} from "../test/unit/merkle/naive-tree.ts";
import { checkpointVectors } from "./vectors-checkpoint.ts";

const hexAll = (hashes: readonly Uint8Array[]): readonly string[] => hashes.map(toHex);

const inclusion = (leaf: number, size: number) => ({
  kind: "inclusion",
  leafIndex: String(leaf),
  treeSize: String(size),
  leafHash: toHex(naiveLeaf(sampleEntry(leaf))),
  root: toHex(naiveRoot(sampleEntries(size))),
  proof: hexAll(naiveInclusion(leaf, sampleEntries(size))),
});

const consistency = (old: number, size: number) => ({
  kind: "consistency",
  oldSize: String(old),
  newSize: String(size),
  oldRoot: toHex(naiveRoot(sampleEntries(old))),
  newRoot: toHex(naiveRoot(sampleEntries(size))),
  proof: hexAll(naiveConsistency(old, sampleEntries(size))),
});

const flipped = (hex: string): string => (hex.startsWith("0") ? "1" : "0") + hex.slice(1);
const spare = toHex(sampleEntry(1000));

const accepting = () => [
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31, 64, 100, 255, 256, 257].map((size) => ({
    name: `root of ${size} leaves`,
    kind: "root",
    size: String(size),
    root: toHex(naiveRoot(sampleEntries(size))),
  })),
  ...(
    [
      [0, 1],
      [0, 2],
      [1, 2],
      [2, 3],
      [0, 7],
      [6, 7],
      [5, 8],
      [8, 9],
      [12, 13],
      [63, 64],
      [64, 100],
      [255, 256],
      [256, 257],
    ] as const
  ).map(([leaf, size]) => ({ name: `leaf ${leaf} of ${size}`, ...inclusion(leaf, size) })),
  ...(
    [
      [0, 0],
      [0, 5],
      [1, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [3, 7],
      [4, 7],
      [6, 8],
      [8, 9],
      [8, 8],
      [13, 100],
      [64, 100],
      [255, 257],
      [256, 257],
    ] as const
  ).map(([old, size]) => ({ name: `${old} leaves begin ${size}`, ...consistency(old, size) })),
];

const refusing = () => {
  const leaf = inclusion(5, 13);
  const grown = consistency(6, 13);
  const whole = consistency(8, 13);
  const [first = "", second = "", ...others] = leaf.proof;
  const wanted = `proof must hold exactly ${leaf.proof.length} hashes`;
  const wantedGrown = `proof must hold exactly ${grown.proof.length} hashes`;
  return [
    {
      name: "leaf index equal to tree size",
      ...leaf,
      leafIndex: "13",
      rule: "leaf index must be below tree size",
    },
    {
      name: "leaf in an empty tree",
      ...leaf,
      leafIndex: "0",
      treeSize: "0",
      rule: "leaf index must be below tree size",
    },
    { name: "negative leaf index", ...leaf, leafIndex: "-1", rule: "leaf index must be below tree size" },
    { name: "tree size 2^64", ...leaf, treeSize: "18446744073709551616", rule: "tree size must be a uint64" },
    {
      name: "short leaf hash",
      ...leaf,
      leafHash: leaf.leafHash.slice(2),
      rule: "leaf hash must be 32 bytes",
    },
    { name: "long root", ...leaf, root: `${leaf.root}00`, rule: "root must be 32 bytes" },
    {
      name: "one hash too few",
      ...leaf,
      proof: leaf.proof.slice(0, -1),
      rule: `${wanted}, got ${leaf.proof.length - 1}`,
    },
    {
      name: "one hash too many",
      ...leaf,
      proof: [...leaf.proof, spare],
      rule: `${wanted}, got ${leaf.proof.length + 1}`,
    },
    {
      name: "one hash before",
      ...leaf,
      proof: [spare, ...leaf.proof],
      rule: `${wanted}, got ${leaf.proof.length + 1}`,
    },
    { name: "no proof", ...leaf, proof: [], rule: `${wanted}, got 0` },
    {
      name: "empty proof hash",
      ...leaf,
      proof: ["", second, ...others],
      rule: "a proof hash must be 32 bytes",
    },
    {
      name: "long proof hash",
      ...leaf,
      proof: [`${first}00`, second, ...others],
      rule: "a proof hash must be 32 bytes",
    },
    {
      name: "first two siblings swapped",
      ...leaf,
      proof: [second, first, ...others],
      rule: "proof must lead to the root",
    },
    {
      name: "sibling with a bit flipped",
      ...leaf,
      proof: [flipped(first), second, ...others],
      rule: "proof must lead to the root",
    },
    {
      name: "root with a bit flipped",
      ...leaf,
      root: flipped(leaf.root),
      rule: "proof must lead to the root",
    },
    {
      name: "leaf hash with a bit flipped",
      ...leaf,
      leafHash: flipped(leaf.leafHash),
      rule: "proof must lead to the root",
    },
    {
      name: "entry in place of its leaf hash",
      ...leaf,
      leafHash: toHex(sampleEntry(5)),
      rule: "proof must lead to the root",
    },
    { name: "neighbour's index", ...leaf, leafIndex: "4", rule: "proof must lead to the root" },
    {
      name: "root of another size",
      ...leaf,
      root: toHex(naiveRoot(sampleEntries(12))),
      rule: "proof must lead to the root",
    },
    {
      name: "proof of a single leaf",
      ...inclusion(0, 1),
      proof: [spare],
      rule: "proof must hold exactly 0 hashes, got 1",
    },
    {
      name: "time travel",
      ...grown,
      oldSize: "13",
      newSize: "6",
      rule: "old size must not be above new size",
    },
    { name: "negative old size", ...grown, oldSize: "-1", rule: "old size must not be above new size" },
    { name: "new size 2^64", ...grown, newSize: "18446744073709551616", rule: "new size must be a uint64" },
    { name: "short old root", ...grown, oldRoot: grown.oldRoot.slice(2), rule: "old root must be 32 bytes" },
    { name: "short new root", ...grown, newRoot: grown.newRoot.slice(2), rule: "new root must be 32 bytes" },
    {
      name: "old size 0 with a proof",
      ...consistency(0, 5),
      proof: [spare],
      rule: "proof must hold exactly 0 hashes, got 1",
    },
    {
      name: "old size 0 with a root of leaves",
      ...consistency(0, 5),
      oldRoot: spare,
      rule: "old root must be the empty root at size 0",
    },
    {
      name: "equal sizes with a proof",
      ...consistency(8, 8),
      proof: [spare],
      rule: "proof must hold exactly 0 hashes, got 1",
    },
    {
      name: "equal sizes, other root",
      ...consistency(8, 8),
      newRoot: spare,
      rule: "roots must be equal at equal sizes",
    },
    {
      name: "two empty trees, other root",
      ...consistency(0, 0),
      newRoot: spare,
      rule: "roots must be equal at equal sizes",
    },
    {
      name: "growth: one hash too few",
      ...grown,
      proof: grown.proof.slice(0, -1),
      rule: `${wantedGrown}, got ${grown.proof.length - 1}`,
    },
    {
      name: "growth: one hash too many",
      ...grown,
      proof: [...grown.proof, spare],
      rule: `${wantedGrown}, got ${grown.proof.length + 1}`,
    },
    { name: "growth: no proof", ...grown, proof: [], rule: `${wantedGrown}, got 0` },
    {
      name: "growth: garbage hash",
      ...grown,
      proof: ["00", ...grown.proof.slice(1)],
      rule: "a proof hash must be 32 bytes",
    },
    {
      name: "growth: seed with a bit flipped",
      ...grown,
      proof: [flipped(grown.proof[0] ?? ""), ...grown.proof.slice(1)],
      rule: "proof must lead to the old root",
    },
    {
      name: "growth: old root with a bit flipped",
      ...grown,
      oldRoot: flipped(grown.oldRoot),
      rule: "proof must lead to the old root",
    },
    {
      name: "growth: new root with a bit flipped",
      ...grown,
      newRoot: flipped(grown.newRoot),
      rule: "proof must lead to the new root",
    },
    {
      name: "growth: roots swapped",
      ...grown,
      oldRoot: grown.newRoot,
      newRoot: grown.oldRoot,
      rule: "proof must lead to the old root",
    },
    {
      name: "growth of a whole tree: old root needlessly given",
      ...whole,
      proof: [whole.oldRoot, ...whole.proof],
      rule: "proof must hold exactly 1 hashes, got 2",
    },
    {
      name: "growth of a whole tree: new hash flipped",
      ...whole,
      proof: whole.proof.map(flipped),
      rule: "proof must lead to the new root",
    },
  ];
};

const hashesAt = (level: number, index: string, width = 256) => ({ kind: "hashes", level, index, width });
const entriesAt = (index: string, width = 256) => ({ kind: "entries", index, width });
const SHAPE = "must be tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]";
const ZEROES = "must have no needless zeroes";

const tiles = () => ({
  about: "Paths of C2SP tlog-tiles. refuse: parsing must fail by the rule named.",
  accept: [
    { path: "tile/0/000", resource: hashesAt(0, "0") },
    { path: "tile/0/001", resource: hashesAt(0, "1") },
    { path: "tile/0/999.p/255", resource: hashesAt(0, "999", 255) },
    { path: "tile/0/x001/000", resource: hashesAt(0, "1000") },
    { path: "tile/1/x001/x234/067", resource: hashesAt(1, "1234067") },
    { path: "tile/1/x001/x234/067.p/1", resource: hashesAt(1, "1234067", 1) },
    { path: "tile/2/000.p/17", resource: hashesAt(2, "0", 17) },
    { path: "tile/63/000.p/1", resource: hashesAt(63, "0", 1) },
    { path: "tile/0/x018/x446/x744/x073/x709/x551/615", resource: hashesAt(0, "18446744073709551615") },
    { path: "tile/entries/000", resource: entriesAt("0") },
    { path: "tile/entries/000.p/112", resource: entriesAt("0", 112) },
    { path: "tile/entries/x123/456", resource: entriesAt("123456") },
  ],
  refuse: [
    { path: "", rule: SHAPE },
    { path: "tile/0/0", rule: SHAPE },
    { path: "/tile/0/000", rule: SHAPE },
    { path: "tile/0/000/", rule: SHAPE },
    { path: "tile/0/001/234", rule: SHAPE },
    { path: "tile/0/x001", rule: SHAPE },
    { path: "tile/0/X001/234", rule: SHAPE },
    { path: "tile/0/1000", rule: SHAPE },
    { path: "tile/-1/000", rule: SHAPE },
    { path: "tile/data/000", rule: SHAPE },
    { path: "tile/0/000.p", rule: SHAPE },
    { path: "tile/0/000.p/", rule: SHAPE },
    { path: "tile/0/000.p/1000", rule: SHAPE },
    { path: "tile/0/../000", rule: SHAPE },
    { path: "tile/0/000\n", rule: SHAPE },
    { path: "tile/0/x000/x000/x000/x000/x000/x000/x000/001", rule: SHAPE },
    { path: "tile/00/000", rule: ZEROES },
    { path: "tile/01/000", rule: ZEROES },
    { path: "tile/0/x000/001", rule: ZEROES },
    { path: "tile/0/000.p/01", rule: ZEROES },
    { path: "tile/0/000.p/0", rule: "a partial tile is 1 to 255 wide" },
    { path: "tile/0/000.p/256", rule: "a partial tile is 1 to 255 wide" },
    { path: "tile/64/000", rule: "the level must be at most 63" },
    { path: "tile/0/x018/x446/x744/x073/x709/x551/616", rule: "the index must be a uint64" },
  ],
});

const written = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`;

/** File name under `test/vectors` → content. */
export const vectorFiles = async (): Promise<Readonly<Record<string, string>>> => ({
  "merkle-golden.json": written({
    about:
      "RFC 6962 trees with SHA-256. Entry i is SHA-256 of i in ASCII decimal. Hashes are hex, numbers decimal text.",
    accept: accepting(),
    refuse: refusing(),
  }),
  "merkle-tiles.json": written(tiles()),
  "checkpoint.json": written(await checkpointVectors()),
});

if (import.meta.main) {
  const { writeFile } = await import("node:fs/promises");
  for (const [name, content] of Object.entries(await vectorFiles())) {
    await writeFile(new URL(`../test/vectors/${name}`, import.meta.url), content);
  }
}
