/** Links of ids: from the record's own, through what is remembered and the ledger alike. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { relayPredecessorsMax } from "../../../src/limits.ts";
import { Predecessors } from "../../../src/relay/predecessors.ts";
import { isPublished, type Filter } from "../../../src/relay/plan.ts";
import type { FeedSource } from "../../../src/relay/source.ts";
import { createRelayLedger, type RelayLedger } from "../../contract/relay-world.ts";

const open: Filter = { tenants: undefined, kinds: undefined, spaces: undefined };
const { signal } = new AbortController();

const add = (source: RelayLedger, ids: readonly string[], kind = "note"): void => {
  for (const id of ids) {
    const before = source.items.findLast(({ record }) => record?.body.id === id)?.record;
    source.add(1, { id, kind, prev: before?.hash ?? null });
  }
};

const linksOf = async (source: RelayLedger, filter: Filter, [from, first]: readonly [number, bigint]) => {
  const published = source.items.slice(from).filter((item) => isPublished(filter, item));
  const links = await new Predecessors(source, filter).linksOf(published, first, signal);
  return [...links].map(([position, before]) => [Number(position), Number(before)]);
};

describe("the version before", () => {
  it("is the same when it is remembered and when it is looked up", async () => {
    const source = createRelayLedger();
    add(source, ["a", "b", "a", "a", "b"]);
    expect(await linksOf(source, open, [0, 0n])).to.deep.equal([
      [2, 0],
      [3, 2],
      [4, 1],
    ]);
    // As after a restart, or of a record that was long ago.
    expect(await linksOf(source, open, [3, 0n])).to.deep.equal([
      [3, 2],
      [4, 1],
    ]);
  });

  it("is none where it is below the generation's first position, or erased", async () => {
    const source = createRelayLedger();
    add(source, ["a", "a", "a"]);
    expect(await linksOf(source, open, [1, 1n])).to.deep.equal([[2, 1]]);
    source.erase(0);
    expect(await linksOf(source, open, [1, 0n])).to.deep.equal([[2, 1]]);
  });

  it("is the newest that a filter lets through", async () => {
    const source = createRelayLedger();
    add(source, ["a", "a"]);
    add(source, ["a"], "tombstone");
    add(source, ["a"]);
    const filter = { ...open, kinds: ["note"] };
    for (const from of [0, 3])
      expect((await linksOf(source, filter, [from, 0n])).at(-1)).to.deep.equal([3, 1]);
    const both = { ...open, kinds: ["note", "tombstone"] };
    expect((await linksOf(source, both, [0, 0n])).at(-1)).to.deep.equal([3, 2]);
  });

  it("is looked up again once many others were published, and memory has a bound", async () => {
    const source = createRelayLedger();
    add(source, ["a"]);
    source.add(relayPredecessorsMax);
    source.add(1, { id: "a", prev: source.items[0]?.record?.hash ?? null });
    let asked = 0;
    const counting: FeedSource = {
      ...source,
      positionOf: (hash, call) => {
        asked += 1;
        return source.positionOf(hash, call);
      },
    };
    const links = await new Predecessors(counting, open).linksOf(source.items, 0n, signal);
    expect([...links]).to.deep.equal([[BigInt(relayPredecessorsMax) + 1n, 0n]]);
    expect(asked).to.equal(1);
  });
});
