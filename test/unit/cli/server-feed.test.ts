/** What a relay outside of the server asks for, and how it takes what comes. */
import { setImmediate as turn } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import { Space, type VerifiedEvent } from "@sigil/client";
import { inBatches, watchOf } from "../../../src/cli/relay/server-feed.ts";
import { feedBatchRecordsMax, watchListMax } from "../../../src/limits.ts";
import type { Filter } from "../../../src/relay/plan.ts";

const all: Filter = { tenants: undefined, kinds: undefined, spaces: undefined };
const [user, system] = [Space.SPACE_USER, Space.SPACE_SYSTEM];
const none: ReadonlySet<string> = new Set();

describe("what a relay outside of the server asks for", () => {
  it("is everything without a filter, and no more than its filter lets through", () => {
    const both = [user, system];
    expect(watchOf(all, none)).to.deep.equal({ tenants: ["*"], spaces: both, allKinds: true });
    expect(watchOf({ ...all, kinds: ["note"] }, none)).to.deep.equal({
      tenants: ["*"],
      spaces: both,
      kinds: ["note"],
    });
    // Records of the system space are of tenant system.
    expect(watchOf({ ...all, tenants: ["acme"] }, none)).to.deep.equal({
      tenants: ["acme"],
      spaces: [user],
      allKinds: true,
    });
    expect(watchOf({ ...all, tenants: ["acme", "system"] }, none)).to.deep.include({ spaces: both });
    expect(watchOf({ ...all, spaces: ["system"] }, none)).to.deep.equal({
      tenants: [],
      spaces: [system],
      allKinds: true,
    });
  });

  it("is more where a watch cannot be asked for it: tombstones of every kind, and long lists", () => {
    expect(watchOf({ ...all, kinds: ["note", "tombstone"] }, none)).to.deep.include({ allKinds: true });
    const many = Array.from({ length: watchListMax + 1 }, (_, at) => `t${at}`);
    expect(watchOf({ ...all, tenants: many, kinds: many }, none)).to.deep.equal({
      tenants: ["*"],
      spaces: [user],
      allKinds: true,
    });
  });

  it("leaves out erased tenants, and is nothing when they are all erased", () => {
    const filter = { ...all, tenants: ["acme", "beta"] };
    expect(watchOf(filter, new Set(["acme"]))).to.deep.include({ tenants: ["beta"] });
    expect(watchOf(filter, new Set(["acme", "beta"]))).to.equal(undefined);
    expect(watchOf({ ...all, tenants: ["acme"], spaces: ["system"] }, none)).to.equal(undefined);
  });
});

const eventAt = (position: number): VerifiedEvent => ({
  kind: "erased",
  position: BigInt(position),
  leaf: new Uint8Array(32),
  nextPosition: BigInt(position + 1),
});

describe("events in batches", () => {
  it("are those that came meanwhile, each once and in order, at most one batch ahead", async () => {
    const count = 3 * feedBatchRecordsMax;
    let [read, most] = [0, 0];
    const events = async function* () {
      for (; read < count; read += 1) yield eventAt(read);
    };
    const positions: bigint[] = [];
    for await (const batch of inBatches(events(), new AbortController())) {
      expect(batch).to.have.length.within(1, feedBatchRecordsMax);
      positions.push(...batch.map(({ nextPosition }) => nextPosition - 1n));
      // All the time that reading takes.
      for (let turns = 0; turns < 20; turns += 1) await turn();
      most = Math.max(most, read - positions.length);
    }
    expect(positions).to.deep.equal(Array.from({ length: count }, (_, at) => BigInt(at)));
    expect(most).to.be.within(feedBatchRecordsMax - 1, feedBatchRecordsMax + 1);
  });

  it("come before the failure that ends them, and reading stops when they are left", async () => {
    const stop = new AbortController();
    const events = async function* () {
      yield eventAt(0);
      yield eventAt(1);
      await turn();
      throw new Error("broken off");
    };
    let taken = 0;
    try {
      for await (const batch of inBatches(events(), stop)) taken += batch.length;
      expect.fail("no failure");
    } catch (error) {
      expect(error).to.have.property("message", "broken off");
    }
    expect(taken).to.equal(2);
    expect(stop.signal.aborted).to.equal(true);
  });
});
