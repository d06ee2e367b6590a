/** The store that fails on purpose must fail where it says, or the fault tables prove nothing. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilFault } from "../../../src/errors.ts";
import { createMemoryBacking, openMemoryStore } from "../../../src/storage/memory.ts";
import { createFaultyStore } from "../../contract/faulty-store.ts";
import { describeStore } from "../../contract/store.ts";

describeStore("a faulty store without a plan", async () => {
  const backing = createMemoryBacking();
  return {
    open: async () => createFaultyStore(await openMemoryStore(backing)),
    remove: () => Promise.resolve(),
  };
});

const key = Uint8Array.of(1);
const batch = [{ kind: "put", key, value: Uint8Array.of(2) }] as const;
const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "ok",
    (error: unknown) => (error instanceof SigilFault ? error.error.kind : "other"),
  );

describe("a faulty store", () => {
  it("fails before anything is kept, at the call planned, then works", async () => {
    const store = createFaultyStore(await openMemoryStore());
    store.plan({ operation: "commit", nth: 2, when: "before", then: "works" });
    expect(await outcome(store.commit([]))).to.equal("ok");
    expect(store.tripped()).to.equal(false);
    expect(await outcome(store.commit(batch))).to.equal("storeFailed");
    expect(store.tripped()).to.equal(true);
    expect(await store.get(key)).to.equal(undefined);
    expect(await outcome(store.commit(batch))).to.equal("ok");
  });

  it("fails after the write was kept, and goes on failing", async () => {
    const store = createFaultyStore(await openMemoryStore());
    store.plan({ operation: "commit", nth: 1, when: "after", then: "fails" });
    expect(await outcome(store.commit(batch))).to.equal("storeFailed");
    expect(await store.get(key)).to.deep.equal(Uint8Array.of(2));
    expect(await outcome(store.commit(batch))).to.equal("storeFailed");
  });

  it("fails a range before its first entry or after its last", async () => {
    const store = createFaultyStore(await openMemoryStore());
    await store.commit(batch);
    const read = async (): Promise<number> => {
      let entries = 0;
      try {
        for await (const _ of store.range({ gte: key, lt: Uint8Array.of(2) })) entries += 1;
      } catch {
        return -1 - entries;
      }
      return entries;
    };
    store.plan({ operation: "range", nth: 1, when: "before", then: "works" });
    expect(await read()).to.equal(-1);
    store.plan({ operation: "range", nth: 1, when: "after", then: "works" });
    expect(await read()).to.equal(-2);
    expect(await read()).to.equal(1);
  });
});
