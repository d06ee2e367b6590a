/** The index is whole or it is refused, whatever was done to the store and wherever the process ended. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { Findings } from "../../../../src/ledger/walk/findings.ts";
import { DecisionCheck } from "../../../../src/ledger/walk/decisions.ts";
import { DecisionRebuild } from "../../../../src/ledger/decisions/rebuild.ts";
import { SipHash } from "../../../../src/ledger/decisions/sip-hash.ts";
import { familyRange } from "../../../../src/ledger/layout/keyspace.ts";
import { fromHex, toHex } from "../../../../src/core/bytes.ts";
import { createMemoryBacking, openMemoryStore, type MemoryBacking } from "../../../../src/storage/memory.ts";
import type { Store } from "../../../../src/storage/store.ts";
import { createFaultyStore } from "../../../contract/faulty-store.ts";
import { faultOf } from "../../../contract/memory-ledger.ts";
import {
  asked,
  commit,
  expected,
  keysOf,
  makeDecisions,
  openIndex,
  recordOf,
  walkAll,
  type Made,
} from "./world.ts";

const made = makeDecisions(2500);
const walk = asked({ filter: { verdict: "deny" }, order: "oldestFirst" });

const entriesOf = async (store: Store) => {
  const entries: (readonly [Uint8Array, Uint8Array])[] = [];
  for await (const entry of store.range(familyRange("d"))) entries.push(entry);
  return entries;
};

const fill = async (store: Store, all: readonly Made[]): Promise<void> => {
  const { index } = openIndex(store);
  for (let from = 0; from < all.length; from += 250) await commit(index, store, all.slice(from, from + 250));
  await index.settled();
};

const inspect = async (store: Store, all: readonly Made[]): Promise<Findings> => {
  const findings = new Findings();
  const known = new Set(all.map(({ position }) => BigInt(position)));
  const check = new DecisionCheck(
    store,
    findings,
    keysOf,
    async (position) => known.has(position) || undefined,
  );
  for (const each of all) await check.add(recordOf(each));
  await check.finish();
  return findings;
};

describe("the index of decisions on a disk that others write to", function () {
  this.slow(20_000);
  let backing: MemoryBacking;
  let entries: Awaited<ReturnType<typeof entriesOf>>;
  before(async () => {
    backing = createMemoryBacking();
    const store = await openMemoryStore(backing);
    await fill(store, made);
    entries = await entriesOf(store);
    await store.close();
  });

  const copy = async (): Promise<Store> => {
    const store = await openMemoryStore(createMemoryBacking());
    await store.commit(entries.map(([key, value]) => ({ kind: "put", key, value })));
    return store;
  };
  const counted = (): bigint => BigInt(made.length);
  const list = (store: Store) => walkAll(openIndex(store, counted).index, store, asked({ filter: {} }));
  const listAll = async (store: Store) => {
    const { index } = openIndex(store, counted);
    // Every value of postings is read by one of these, and every value of rows by the last.
    for (const filter of [{ verdict: "deny" }, { verdict: "allow" }, { action: "read" }]) {
      await walkAll(index, store, asked({ filter }));
    }
    return walkAll(index, store, asked({ filter: {} }));
  };

  it("is listed whole, and clean by inspection, as it is", async () => {
    const store = await copy();
    expect(await list(store)).to.have.length(made.length);
    expect((await inspect(store, made)).total).to.equal(0);
  });

  it("is damage by any value of rows, fence or tail that is missing, changed, moved or set back", async () => {
    const kindOf = (key: Uint8Array): number => key[key.indexOf(0) + 1] ?? 0;
    const isPostings = (key: Uint8Array): boolean => key.length === "dacme".length + 2 + 12;
    let tried = 0;
    for (const [key, value] of entries) {
      if (isPostings(key)) continue;
      const [, moved] =
        entries.find(
          ([each]) => each !== key && each.length === key.length && kindOf(each) === kindOf(key),
        ) ?? [];
      const flipped = Uint8Array.from(value);
      flipped[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
      const replacements = [undefined, flipped, value.subarray(0, -1), moved];
      for (const replacement of replacements) {
        if (replacement !== undefined && toHex(replacement) === toHex(value)) continue;
        const store = await copy();
        await store.commit([
          replacement === undefined ? { kind: "delete", key } : { kind: "put", key, value: replacement },
        ]);
        expect(await faultOf(listAll(store)), toHex(key)).to.include({ kind: "ledgerCorrupt" });
        tried += 1;
      }
    }
    expect(tried).to.be.greaterThan(40);
  });

  it("is damage by any value of postings that a search reads and that is missing or changed", async () => {
    const postings = entries.filter(([key]) => key.length === "dacme".length + 2 + 12);
    expect(postings.length).to.be.greaterThan(5);
    for (const [at, [key, value]] of postings.entries()) {
      const store = await copy();
      const flipped = Uint8Array.from(value, (byte, index) => (index === 20 ? byte ^ 1 : byte));
      await store.commit([at % 2 === 0 ? { kind: "delete", key } : { kind: "put", key, value: flipped }]);
      expect((await inspect(store, made)).total, toHex(key)).to.be.greaterThan(0);
    }
  });

  it("that ends early is damage to whoever knows how many decisions there are", async () => {
    const tails = entries.filter(([key]) => key[key.indexOf(0) + 1] === 0);
    const [last] = tails.at(-1) ?? [];
    const store = await copy();
    await store.commit([{ kind: "delete", key: last ?? new Uint8Array(1) }]);
    expect(await faultOf(list(store))).to.include({ kind: "ledgerCorrupt" });
    expect(await walkAll(openIndex(store).index, store, walk)).to.have.length.below(made.length);
    expect((await inspect(store, made)).total).to.be.greaterThan(0);
  });

  it("of an inspection that could not read some records is not called wrong for that", async () => {
    const store = await copy();
    const findings = new Findings();
    const readable = made.filter((_, index) => index % 500 !== 5);
    const known = new Set(readable.map(({ position }) => BigInt(position)));
    const check = new DecisionCheck(store, findings, keysOf, async (at) => known.has(at) || undefined);
    for (const each of readable) await check.add(recordOf(each));
    await check.finish();
    expect(findings.sorted()).to.deep.equal([]);
    // The same entries are strangers when their positions hold something else that can be read.
    const others = new Findings();
    const strict = new DecisionCheck(store, others, keysOf, async () => true);
    for (const each of readable) await strict.add(recordOf(each));
    await strict.finish();
    expect(others.total).to.equal(made.length - readable.length);
  });

  it("is the same, value by value, when it is built anew", async () => {
    const many = makeDecisions(17_700);
    const grown = await openMemoryStore(createMemoryBacking());
    await fill(grown, many);
    expect((await inspect(grown, many)).total).to.equal(0);
    const right = await entriesOf(grown);
    const store = await openMemoryStore(createMemoryBacking());
    const rebuild = new DecisionRebuild(store, keysOf);
    for (const [at, each] of many.entries()) {
      await rebuild.add(recordOf(each));
      if (at % 250 === 249) rebuild.endGroup();
    }
    await store.commit(rebuild.finish());
    const plain = (all: typeof entries) => all.map(([key, value]) => `${toHex(key)} ${toHex(value)}`);
    const isSettled = ([key]: (typeof entries)[number]): boolean => key[key.indexOf(0) + 1] !== 0;
    expect(plain((await entriesOf(store)).filter(isSettled))).to.deep.equal(plain(right.filter(isSettled)));
    expect((await inspect(store, many)).total).to.equal(0);
    const all = asked({ filter: {} });
    expect(await walkAll(openIndex(store).index, store, all)).to.deep.equal(expected(many, all));
  });
});

describe("the index of decisions in a process that ends", function () {
  this.slow(20_000);

  it("after any batch, before or after it is written, goes on from what is on disk", async () => {
    const few = makeDecisions(5200, 11);
    for (const when of ["before", "after"] as const) {
      for (let nth = 1; nth < 26; nth += 4) {
        const inner = await openMemoryStore(createMemoryBacking());
        let store: Store = createFaultyStore(inner, { operation: "commit", nth, when, then: "fails" });
        let { index } = openIndex(store);
        for (let from = 0; from < few.length;) {
          const part = few.slice(from, from + 250);
          try {
            await commit(index, store, part);
            from += part.length;
          } catch {
            // As the ledger does: everything is read anew, and what turned out kept is not written again.
            index.forget();
            store = inner;
            ({ index } = openIndex(store));
            const { settled, tailLength } = await index.view("acme");
            from = settled + tailLength;
          }
        }
        await index.settled();
        expect(await walkAll(index, store, walk), `${when} ${nth}`).to.deep.equal(expected(few, walk));
        expect((await inspect(store, few)).total).to.equal(0);
      }
    }
  });

  it("in the middle of a merge leaves shorter segments, which the next one merges", async () => {
    const many = makeDecisions(16_900, 5);
    for (const nth of [1, 2, 3]) {
      const inner = await openMemoryStore(createMemoryBacking());
      let isMerging = false;
      let merges = 0;
      const store: Store = {
        get: (key, options) => inner.get(key, options),
        getMany: (keys, options) => inner.getMany(keys, options),
        range: (options) => inner.range(options),
        purge: (ranges, beforeClosing) => inner.purge(ranges, beforeClosing),
        flush: () => inner.flush(),
        close: () => inner.close(),
        [Symbol.asyncDispose]: () => inner.close(),
        commit: async (batch) => {
          // A merge writes no tail.
          isMerging = !batch.some(({ kind, key }) => kind === "put" && key[key.indexOf(0) + 1] === 0);
          if (isMerging) merges += 1;
          if (isMerging && merges === nth) throw new Error("killed");
          await inner.commit(batch);
        },
        snapshot: () => inner.snapshot(),
      };
      const { index, faults } = openIndex(store);
      for (let from = 0; from < many.length; from += 250)
        await commit(index, store, many.slice(from, from + 250));
      await index.settled();
      expect(faults, `merge write ${nth}`).to.have.length(1);
      expect(await walkAll(index, store, walk)).to.deep.equal(expected(many, walk));
      expect((await inspect(inner, many)).total, `merge write ${nth}`).to.equal(0);
      const { index: next } = openIndex(inner);
      await next.ensure("acme");
      await next.settled();
      expect((await next.view("acme")).segments.map(({ level }) => level)).to.deep.equal([1]);
      expect(await walkAll(next, inner, walk)).to.deep.equal(expected(many, walk));
      expect((await inspect(inner, many)).total).to.equal(0);
    }
  });
});

describe("SipHash-2-4", () => {
  it("gives what its authors' vectors say", () => {
    const hash = new SipHash(fromHex("000102030405060708090a0b0c0d0e0f"));
    // The low halves of the first outputs of the reference implementation, and of the 15-byte example in the paper.
    const right = [0xdd0e0e31, 0x93dc67fd, 0xd9a94f5a];
    for (const [length, low] of right.entries()) {
      hash.begin();
      for (let byte = 0; byte < length; byte += 1) hash.add(byte);
      expect(hash.low32()).to.equal(low);
    }
    hash.begin();
    for (let byte = 0; byte < 15; byte += 1) hash.add(byte);
    expect(hash.low32()).to.equal(0x49be45e5);
  });
});
