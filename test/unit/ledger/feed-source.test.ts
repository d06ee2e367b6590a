/** The feed with leaves and checkpoints: from position 0 it gives the tree, erased records or not. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseHash, type Hash } from "../../../src/core/bytes.ts";
import { parseCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { parseNote } from "../../../src/core/merkle/note.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../../src/core/merkle/tree.ts";
import type { FeedBatch, FeedItem } from "../../../src/core/record/feed.ts";
import { readFeed, type FeedLedger } from "../../../src/ledger/feed-source.ts";
import { createWorld, decisionBody, openWorld, userBody } from "../../contract/memory-ledger.ts";

const readUpTo = async (ledger: FeedLedger, from: bigint, size: bigint): Promise<readonly FeedBatch[]> => {
  const stop = new AbortController();
  const batches: FeedBatch[] = [];
  for await (const batch of readFeed(ledger, from, stop)) {
    batches.push(batch);
    if (batch.next >= size) stop.abort();
  }
  return batches;
};

const itemsIn = (batches: readonly FeedBatch[]): readonly FeedItem[] => batches.flatMap(({ items }) => items);

describe("the feed with leaves", () => {
  it("rebuilds the tree of the checkpoint that comes with the last batch", async () => {
    await using ledger = await openWorld(await createWorld());
    for (const id of ["a", "b", "c"]) await ledger.append([userBody(id), decisionBody(`of-${id}`)]);
    const { size } = ledger.reader;
    const batches = await readUpTo(ledger, 0n, size);
    const items = itemsIn(batches);
    expect(items.map(({ position }) => position)).to.deep.equal(
      Array.from({ length: Number(size) }, (_, at) => BigInt(at)),
    );
    const note = batches.at(-1)?.checkpoint ?? "";
    const checkpoint = parseCheckpoint(parseNote(note).text);
    const { frontier } = appendLeaves(
      emptyFrontier,
      items.map(({ leaf }) => leaf),
    );
    expect(checkpoint.size).to.equal(size);
    expect(rootOf(frontier)).to.deep.equal(checkpoint.root);
    const { tree } = ledger.reader;
    expect(await tree.leaves([1n, 3n])).to.deep.equal([items[1]?.leaf, items[3]?.leaf]);
  });

  it("gives what is left of erased records in their places", async () => {
    await using ledger = await openWorld(await createWorld());
    await ledger.append([userBody("a"), userBody("b"), userBody("c")]);
    const { size } = ledger.reader;
    const [, second] = itemsIn(await readUpTo(ledger, 1n, size));
    const leaf = (position: bigint): Hash => parseHash(new Uint8Array(32).fill(Number(position)));
    const erasing: FeedLedger = {
      feed: {
        async *from() {
          const records = second?.record === undefined ? [] : [second.record];
          yield { records, erased: [1n, 3n], next: 4n };
        },
      },
      reader: {
        tree: { ...ledger.reader.tree, leaves: async (positions) => positions.map(leaf) },
      },
    };
    const items = itemsIn(await readUpTo(erasing, 1n, 4n));
    expect(items.map(({ position, record }) => [position, record?.body.id])).to.deep.equal([
      [1n, undefined],
      [2n, "b"],
      [3n, undefined],
    ]);
    expect(items[0]?.leaf).to.deep.equal(leaf(1n));
  });

  it("does not pass over an erased record whose leaf the tree does not give", async () => {
    await using ledger = await openWorld(await createWorld());
    const lacking: FeedLedger = {
      feed: {
        async *from() {
          yield { records: [], erased: [1n, 2n], next: 3n };
        },
      },
      reader: { tree: { ...ledger.reader.tree, leaves: async () => [parseHash(new Uint8Array(32))] } },
    };
    const read = await readUpTo(lacking, 1n, 3n).catch((error: unknown) => error);
    expect(String(read)).to.match(/a leaf for each erased position/);
  });
});
