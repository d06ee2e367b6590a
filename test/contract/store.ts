/** The one suite that every store adapter passes. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { compareBytes, toHex, utf8Decode, utf8Encode } from "../../src/core/bytes.ts";
import { SigilFault, type SigilError } from "../../src/errors.ts";
import type { RangeOptions, Store, StoreOp } from "../../src/storage/store.ts";

/** Somewhere a store can be opened, closed and opened again. */
export type StorePlace = {
  readonly open: () => Promise<Store>;
  readonly remove: () => Promise<void>;
};

const put = (key: string, value: string): StoreOp => ({
  kind: "put",
  key: utf8Encode(key),
  value: utf8Encode(value),
});
const remove = (key: string): StoreOp => ({ kind: "delete", key: utf8Encode(key) });

const keysOf = async (
  store: Store,
  gte: string,
  lt: string,
  more: Partial<RangeOptions> = {},
): Promise<readonly string[]> => {
  const keys: string[] = [];
  for await (const [key] of store.range({ gte: utf8Encode(gte), lt: utf8Encode(lt), ...more })) {
    keys.push(utf8Decode(key));
  }
  return keys;
};

const textOf = async (store: Store, key: string, more = {}): Promise<string | undefined> => {
  const value = await store.get(utf8Encode(key), more);
  return value === undefined ? undefined : utf8Decode(value);
};

const errorOf = async (work: () => unknown): Promise<SigilError> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof SigilFault) return error.error;
    throw error;
  }
  throw new Error("expected a SigilFault");
};

const describeReading = (store: () => Store): void => {
  it("answers undefined for an absent key and keeps an empty value apart from it", async () => {
    await store().commit([put("empty", "")]);
    expect(await textOf(store(), "absent")).to.equal(undefined);
    expect(await textOf(store(), "empty")).to.equal("");
  });

  it("answers many keys in the order asked, with a hole for each absent one", async () => {
    await store().commit([put("a", "1"), put("c", "3")]);
    const values = await store().getMany([utf8Encode("c"), utf8Encode("b"), utf8Encode("a")]);
    expect(values.map((value) => value && utf8Decode(value))).to.deep.equal(["3", undefined, "1"]);
    expect(await store().getMany([])).to.deep.equal([]);
  });

  it("answers plain bytes that the caller may keep and change", async () => {
    await store().commit([put("a", "1")]);
    const value = await store().get(utf8Encode("a"));
    expect(Object.getPrototypeOf(value)).to.equal(Uint8Array.prototype);
    value?.fill(0);
    for await (const [key, read] of store().range({ gte: utf8Encode("a"), lt: utf8Encode("b") })) {
      key.fill(0);
      read.fill(0);
    }
    expect(await textOf(store(), "a")).to.equal("1");
  });

  it("orders keys bytewise, unsigned, a prefix before what it begins", async () => {
    const keys = [[0xff, 0xff], [0x80], [0x7f, 0xff], [0x7f], [0x00], [0x00, 0x00], [0xff]];
    await store().commit(
      keys.map((key) => ({ kind: "put", key: Uint8Array.from(key), value: new Uint8Array() })),
    );
    const found: string[] = [];
    for await (const [key] of store().range({
      gte: new Uint8Array(),
      lt: new Uint8Array([255, 255, 255]),
    })) {
      found.push(toHex(key));
    }
    const wanted = keys.map((key) => Uint8Array.from(key)).toSorted(compareBytes);
    expect(found).to.deep.equal(wanted.map(toHex));
  });
};

const describeRanges = (store: () => Store): void => {
  beforeEach(() => store().commit(["a", "b", "ba", "c", "d"].map((key) => put(key, key))));

  it("includes its lower bound and leaves out its upper one", async () => {
    expect(await keysOf(store(), "b", "d")).to.deep.equal(["b", "ba", "c"]);
    expect(await keysOf(store(), "aa", "bb")).to.deep.equal(["b", "ba"]);
  });

  it("reads backwards with the same bounds", async () => {
    expect(await keysOf(store(), "b", "d", { reverse: true })).to.deep.equal(["c", "ba", "b"]);
  });

  it("stops at its limit from whichever end it began", async () => {
    expect(await keysOf(store(), "a", "z", { limit: 2 })).to.deep.equal(["a", "b"]);
    expect(await keysOf(store(), "a", "z", { limit: 2, reverse: true })).to.deep.equal(["d", "c"]);
    expect(await keysOf(store(), "a", "z", { limit: 0 })).to.deep.equal([]);
    expect(await keysOf(store(), "a", "z", { limit: 99 })).to.have.length(5);
  });

  it("is empty when its bounds are equal, crossed or beside every key", async () => {
    expect(await keysOf(store(), "b", "b")).to.deep.equal([]);
    expect(await keysOf(store(), "d", "a")).to.deep.equal([]);
    expect(await keysOf(store(), "x", "z", { reverse: true })).to.deep.equal([]);
  });

  it("reads thousands of entries in order, each once", async () => {
    const wanted = Array.from({ length: 3000 }, (_, index) => `n${String(index).padStart(5, "0")}`);
    await store().commit(wanted.toReversed().map((key) => put(key, "x".repeat(300))));
    expect(await keysOf(store(), "n", "o")).to.deep.equal(wanted);
    expect(await keysOf(store(), "n", "o", { reverse: true })).to.deep.equal(wanted.toReversed());
  });

  it("can be left early and read again", async () => {
    for await (const _ of store().range({ gte: utf8Encode("a"), lt: utf8Encode("z") })) break;
    expect(await keysOf(store(), "a", "z")).to.have.length(5);
  });

  it("shows the entries of the moment it began", async () => {
    const reading = store()
      .range({ gte: utf8Encode("a"), lt: utf8Encode("z") })
      [Symbol.asyncIterator]();
    await reading.next();
    await store().commit([put("bb", ""), remove("c")]);
    const rest: string[] = [];
    for (let step = await reading.next(); step.done !== true; step = await reading.next()) {
      rest.push(utf8Decode(step.value[0]));
    }
    expect(rest).to.deep.equal(["b", "ba", "c", "d"]);
  });
};

const describeCommits = (store: () => Store): void => {
  it("applies a batch in order, so the last put of a key wins", async () => {
    await store().commit([put("a", "1"), remove("b"), put("a", "2")]);
    expect(await textOf(store(), "a")).to.equal("2");
  });

  it("takes no batch that puts and deletes one key, whichever comes first", async () => {
    await store().commit([put("a", "1")]);
    for (const batch of [
      [put("a", "2"), put("b", "1"), remove("a")],
      [remove("a"), put("b", "1"), put("a", "2")],
    ]) {
      const error = await store()
        .commit(batch)
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      expect(String(error)).to.include("puts and deletes one key");
      expect(await textOf(store(), "a")).to.equal("1");
      expect(await textOf(store(), "b")).to.equal(undefined);
    }
  });

  it("deletes, and does nothing for an absent key or an empty batch", async () => {
    await store().commit([put("a", "1")]);
    await store().commit([remove("a"), remove("never")]);
    await store().commit([]);
    expect(await keysOf(store(), "a", "z")).to.deep.equal([]);
  });

  it("keeps nothing of a batch that it refuses", async () => {
    const batch = [put("a", "1"), put("", "an empty key")];
    expect(await errorOf(() => store().commit(batch))).to.include({ kind: "storeFailed", step: "commit" });
    expect(await textOf(store(), "a")).to.equal(undefined);
  });

  it("never shows half a batch to a reader", async () => {
    const writes = (async () => {
      for (let round = 0; round < 50; round += 1)
        await store().commit([put("x", `${round}`), put("y", `${round}`)]);
    })();
    for (let round = 0; round < 50; round += 1) {
      const [x, y] = await store().getMany([utf8Encode("x"), utf8Encode("y")]);
      await using snapshot = store().snapshot();
      expect(await textOf(store(), "x", { snapshot })).to.equal(await textOf(store(), "y", { snapshot }));
      if (y !== undefined) expect(x).to.not.equal(undefined);
    }
    await writes;
  });
};

const describeSnapshots = (store: () => Store): void => {
  it("keeps its moment through later writes, for get, getMany and range", async () => {
    await store().commit([put("a", "1"), put("b", "1")]);
    await using snapshot = store().snapshot();
    await store().commit([put("a", "2"), remove("b"), put("c", "2")]);
    expect(await textOf(store(), "a", { snapshot })).to.equal("1");
    expect(await keysOf(store(), "a", "z", { snapshot })).to.deep.equal(["a", "b"]);
    const [b, c] = await store().getMany([utf8Encode("b"), utf8Encode("c")], { snapshot });
    expect([b === undefined, c === undefined]).to.deep.equal([false, true]);
    expect(await keysOf(store(), "a", "z")).to.deep.equal(["a", "c"]);
  });

  it("fails cleanly once closed, and closes twice", async () => {
    const snapshot = store().snapshot();
    await snapshot.close();
    await snapshot.close();
    expect(await errorOf(() => store().get(utf8Encode("a"), { snapshot }))).to.include({
      kind: "storeFailed",
    });
  });
};

/** @param createPlace a fresh, empty place for each test. */
export const describeStore = (name: string, createPlace: () => Promise<StorePlace>): void => {
  describe(`the store contract on ${name}`, () => {
    let place: StorePlace;
    let opened: Store;
    const store = (): Store => opened;

    beforeEach(async () => {
      place = await createPlace();
      opened = await place.open();
    });
    afterEach(async () => {
      await opened.close();
      await place.remove();
    });

    describe("reading", () => describeReading(store));
    describe("range", () => describeRanges(store));
    describe("commit", () => describeCommits(store));
    describe("snapshot", () => describeSnapshots(store));

    it("keeps its data when closed and opened again", async () => {
      await opened.commit([put("a", "1"), put("b", ""), remove("c")]);
      await opened.close();
      opened = await place.open();
      expect(await keysOf(opened, "a", "z")).to.deep.equal(["a", "b"]);
      expect(await textOf(opened, "b")).to.equal("");
    });

    it("refuses a second opening of the same place while the first lasts", async () => {
      expect(await errorOf(place.open)).to.include({ kind: "storeLocked" });
      await opened.commit([put("a", "1")]);
      expect(await textOf(opened, "a")).to.equal("1");
    });

    it("fails every call after close with a storeFailed that says so, and closes twice", async () => {
      const snapshot = opened.snapshot();
      const reading = opened.range({ gte: utf8Encode("a"), lt: utf8Encode("z") });
      await opened.commit([put("a", "1")]);
      await opened.close();
      await opened.close();
      await snapshot.close();
      const key = utf8Encode("a");
      const calls: readonly (() => unknown)[] = [
        () => opened.get(key),
        () => opened.getMany([key]),
        () => opened.commit([put("b", "1")]),
        () => opened.flush(),
        () => opened.snapshot(),
        () => reading[Symbol.asyncIterator]().next(),
      ];
      for (const call of calls) {
        const error = await errorOf(call);
        expect(error).to.include({ kind: "storeFailed", rule: "the store or snapshot is closed" });
      }
    });

    it("keeps what it holds when it is flushed, also for a snapshot from before", async () => {
      await opened.commit([put("a", "1"), put("b", "1")]);
      const snapshot = opened.snapshot();
      await opened.commit([put("a", "2"), remove("b")]);
      await opened.flush();
      expect(await textOf(opened, "a")).to.equal("2");
      expect(await textOf(opened, "b")).to.equal(undefined);
      expect(await textOf(opened, "a", { snapshot })).to.equal("1");
      expect(await textOf(opened, "b", { snapshot })).to.equal("1");
    });

    it("purges what was deleted, keeps the rest, and is closed by it", async () => {
      const names = Array.from({ length: 300 }, (_, index) => `k${index}`);
      await opened.commit([...names.map((name) => put(name, "x".repeat(50))), put("other", "stays")]);
      await opened.commit(names.slice(1).map((name) => ({ kind: "delete", key: utf8Encode(name) })));
      let calls = 0;
      const range = { gte: utf8Encode("k"), lt: utf8Encode("l") };
      await opened.purge([range, { gte: utf8Encode("a"), lt: utf8Encode("b") }], async () => {
        calls += 1;
        expect(await opened.get(utf8Encode("k0"))).to.not.equal(undefined);
      });
      expect(calls).to.equal(1);
      expect(await errorOf(() => opened.get(utf8Encode("k0")))).to.include({ kind: "storeFailed" });
      await opened.close();
      opened = await place.open();
      expect(await opened.get(utf8Encode("other"))).to.deep.equal(utf8Encode("stays"));
      let left = 0;
      for await (const _ of opened.range(range)) left += 1;
      expect(left).to.equal(1);
    });

    it("is still open when whoever is asked before closing refuses a purge", async () => {
      const refusing = (): Promise<void> => Promise.reject(new Error("not now"));
      const error = await errorOf(() => opened.purge([], refusing)).catch((thrown: unknown) => thrown);
      expect(error).to.not.equal(undefined);
      await opened.close();
    });

    it("ends a range under way with an error when the store closes", async () => {
      await opened.commit(Array.from({ length: 2000 }, (_, index) => put(`k${index}`, "x")));
      const error = await errorOf(async () => {
        for await (const _ of opened.range({ gte: utf8Encode("k"), lt: utf8Encode("l") }))
          await opened.close();
      });
      expect(error).to.include({ kind: "storeFailed", step: "range" });
    });
  });
};
