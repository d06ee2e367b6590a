/** What is read from records: remembered until one of them changes, and never older than the newest commit. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { RecordCache } from "../../../src/ledger/cache.ts";
import type { CommitListener, CommittedRecord } from "../../../src/ledger/append/options.ts";
import { userBody } from "../../contract/memory-ledger.ts";

const createBench = () => {
  const listeners = new Set<CommitListener>();
  const feed = {
    subscribe: (listener: CommitListener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const cache = new RecordCache<string>(
    feed,
    () => new Map<string, string>(),
    ({ body: { id } }) => {
      if (id === "all") return "all";
      if (id.startsWith("said/")) return { name: id.slice(5), value: `said by ${id}` };
      if (id === "malformed") throw new Error("not understood");
      return id.startsWith("n/") ? { name: id.slice(2) } : undefined;
    },
  );
  let reads = 0;
  return {
    cache,
    listeners,
    commit: (id: string): void => {
      for (const listener of listeners) listener([{ body: userBody(id) } as CommittedRecord]);
    },
    find: (name: string, during: () => void = () => {}) =>
      cache.find(name, async () => {
        reads += 1;
        const found = `${name} ${reads}`;
        await Promise.resolve();
        during();
        return found;
      }),
  };
};

describe("a cache of records", () => {
  it("reads once, and again after a commit of what was read", async () => {
    const { find, commit } = createBench();
    expect([await find("a"), await find("a"), await find("b")]).to.deep.equal(["a 1", "a 1", "b 2"]);
    commit("other");
    expect(await find("a")).to.equal("a 1");
    commit("n/a");
    expect([await find("a"), await find("b")]).to.deep.equal(["a 3", "b 2"]);
    commit("all");
    expect([await find("a"), await find("b")]).to.deep.equal(["a 4", "b 5"]);
    expect(() => commit("malformed")).to.throw("not understood");
    expect([await find("a"), await find("b")]).to.deep.equal(["a 6", "b 7"]);
  });

  it("does not remember what a change overtook", async () => {
    for (const change of ["commit", "announce"] as const) {
      const { cache, find, commit } = createBench();
      const during = (): void => (change === "commit" ? commit("n/a") : cache.announce());
      expect(await find("a", during)).to.equal("a 1");
      expect(cache.changes).to.equal(1);
      expect([await find("a"), await find("a")]).to.deep.equal(["a 2", "a 2"]);
    }
  });

  it("remembers nothing of a name that is not there", async () => {
    const { cache, find } = createBench();
    expect(await cache.find("a", async () => undefined)).to.equal(undefined);
    expect(await find("a")).to.equal("a 1");
  });

  it("takes from a commit what the record itself says, and not what a reading found that it overtook", async () => {
    const { cache, find, commit } = createBench();
    expect(cache.held("a")).to.equal(undefined);
    expect(await find("a", () => commit("said/a"))).to.equal("a 1");
    expect([cache.held("a"), await find("a")]).to.deep.equal(["said by said/a", "said by said/a"]);
    commit("n/a");
    expect([cache.held("a"), await find("a"), cache.held("a")]).to.deep.equal([undefined, "a 2", "a 2"]);
  });

  it("stops listening", () => {
    const { cache, listeners } = createBench();
    cache.close();
    expect(listeners.size).to.equal(0);
  });
});
