/** Trees, proofs and tile paths against data: public vectors nobody here wrote, and golden ones of our own. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { vectorFiles } from "../../../scripts/vectors-merkle.ts";
import { fromBase64, fromHex, toHex } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import { checkConsistency, checkInclusion } from "../../../src/core/merkle/proof.ts";
import type { ProofOutcome } from "../../../src/core/merkle/proof.ts";
import { formatTilePath, parseTilePath } from "../../../src/core/merkle/tile.ts";
import type { TileResource } from "../../../src/core/merkle/tile.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../../src/core/merkle/tree.ts";
import { sampleEntries } from "./naive-tree.ts";

const readText = (name: string): string =>
  readFileSync(new URL(`../../vectors/${name}`, import.meta.url), "utf8");

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

/** Numbers become bigint from their digits: the public vectors use all of uint64. */
const parseLossless = JSON.parse as (text: string, reviver: Reviver) => unknown;
const readPublic = <Case>(name: string): readonly Case[] => {
  const whole = parseLossless(readText(name), (_key, value, { source }) =>
    typeof value === "number" ? BigInt(source ?? "") : value,
  );
  return (whole as { readonly cases: readonly Case[] }).cases;
};

interface PublicInclusion {
  readonly name: string;
  readonly leafIdx: bigint;
  readonly treeSize: bigint;
  readonly root: string;
  readonly leafHash: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

interface PublicConsistency {
  readonly name: string;
  readonly size1: bigint;
  readonly size2: bigint;
  readonly root1: string;
  readonly root2: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

describe("public proof vectors", () => {
  it("reads numbers past 2^53 without loss", () => {
    const largest = readPublic<PublicInclusion>("merkle-inclusion.json").map(({ leafIdx }) => leafIdx);
    expect(largest).to.include(2n ** 64n - 1n);
  });

  it("gives every inclusion vector its verdict", () => {
    const cases = readPublic<PublicInclusion>("merkle-inclusion.json");
    expect(cases).to.have.length(82);
    for (const vector of cases) {
      const outcome = checkInclusion({
        leafIndex: vector.leafIdx,
        treeSize: vector.treeSize,
        leafHash: fromBase64(vector.leafHash),
        root: fromBase64(vector.root),
        proof: (vector.proof ?? []).map(fromBase64),
      });
      expect(outcome.kind, vector.name).to.equal(vector.wantErr ? "refused" : "ok");
    }
  });

  it("gives every consistency vector its verdict", () => {
    const cases = readPublic<PublicConsistency>("merkle-consistency.json");
    expect(cases).to.have.length(84);
    for (const vector of cases) {
      const outcome = checkConsistency({
        oldSize: vector.size1,
        newSize: vector.size2,
        oldRoot: fromBase64(vector.root1),
        newRoot: fromBase64(vector.root2),
        proof: (vector.proof ?? []).map(fromBase64),
      });
      expect(outcome.kind, vector.name).to.equal(vector.wantErr ? "refused" : "ok");
    }
  });
});

type GoldenCase = { readonly name: string; readonly rule?: string } & (
  | { readonly kind: "root"; readonly size: string; readonly root: string }
  | {
      readonly kind: "inclusion";
      readonly leafIndex: string;
      readonly treeSize: string;
      readonly leafHash: string;
      readonly root: string;
      readonly proof: readonly string[];
    }
  | {
      readonly kind: "consistency";
      readonly oldSize: string;
      readonly newSize: string;
      readonly oldRoot: string;
      readonly newRoot: string;
      readonly proof: readonly string[];
    }
);

interface Golden {
  readonly accept: readonly GoldenCase[];
  readonly refuse: readonly GoldenCase[];
}

const rootOver = (size: number): string =>
  toHex(
    rootOf(
      appendLeaves(
        emptyFrontier,
        sampleEntries(size).map((entry) => leafHash(entry)),
      ).frontier,
    ),
  );

const judge = (vector: GoldenCase): ProofOutcome => {
  switch (vector.kind) {
    case "root":
      return rootOver(Number(vector.size)) === vector.root
        ? { kind: "ok" }
        : { kind: "refused", rule: "root differs" };
    case "inclusion":
      return checkInclusion({
        leafIndex: BigInt(vector.leafIndex),
        treeSize: BigInt(vector.treeSize),
        leafHash: fromHex(vector.leafHash),
        root: fromHex(vector.root),
        proof: vector.proof.map(fromHex),
      });
    case "consistency":
      return checkConsistency({
        oldSize: BigInt(vector.oldSize),
        newSize: BigInt(vector.newSize),
        oldRoot: fromHex(vector.oldRoot),
        newRoot: fromHex(vector.newRoot),
        proof: vector.proof.map(fromHex),
      });
  }
};

describe("golden proof vectors", () => {
  const golden = JSON.parse(readText("merkle-golden.json")) as Golden;

  for (const vector of golden.accept) {
    it(`accepts ${vector.kind}: ${vector.name}`, () => {
      expect(judge(vector)).to.deep.equal({ kind: "ok" });
    });
  }
  for (const vector of golden.refuse) {
    it(`refuses ${vector.kind}: ${vector.name}`, () => {
      expect(judge(vector)).to.deep.equal({ kind: "refused", rule: vector.rule });
    });
  }

  it("are what the generator writes", async () => {
    for (const [name, content] of Object.entries(await vectorFiles())) {
      expect(readText(name) === content, `${name} is out of date: npm run vectors`).to.equal(true);
    }
  });
});

type WrittenResource = { readonly kind: string; readonly index: string };
interface TileVectors {
  readonly accept: readonly { readonly path: string; readonly resource: WrittenResource }[];
  readonly refuse: readonly { readonly path: string; readonly rule: string }[];
}

describe("tile path vectors", () => {
  const vectors = JSON.parse(readText("merkle-tiles.json")) as TileVectors;

  for (const { path, resource } of vectors.accept) {
    it(`reads and writes ${path}`, () => {
      const wanted = { ...resource, index: BigInt(resource.index) } as TileResource;
      expect(parseTilePath(path)).to.deep.equal(wanted);
      expect(formatTilePath(wanted)).to.equal(path);
    });
  }
  for (const { path, rule } of vectors.refuse) {
    it(`refuses ${JSON.stringify(path)}`, () => {
      expect(() => parseTilePath(path))
        .to.throw(SigilFault)
        .with.deep.property("error", { kind: "invalidField", field: "tile_path", rule });
    });
  }
});
