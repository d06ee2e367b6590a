/** A walk over a store that is opened anew whenever too much of it is in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { SigilFault } from "../../../src/errors.ts";
import { openLevelStore } from "../../../src/storage/level.ts";
import { mappedBytes, openResident } from "../../../src/storage/resident.ts";
import type { RangeOptions, Store } from "../../../src/storage/store.ts";
import { createFaultyStore } from "../../contract/faulty-store.ts";

const keyOf = (index: number): Uint8Array =>
  Uint8Array.of(0x72, index >> 16, (index >> 8) & 0xff, index & 0xff);
const count = 24_000;
const all = { gte: keyOf(0), lt: keyOf(count) };

describe("a store of which little stays in memory", () => {
  let path: string;
  let openings: number;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "sigil-resident-"));
    openings = 0;
    await using store = await openLevelStore(path);
    const entries = Array.from({ length: count }, (_, index) => keyOf(index));
    await store.commit(entries.map((key) => ({ kind: "put", key, value: key })));
  });
  afterEach(() => rm(path, { recursive: true, force: true }));

  const open = async (): Promise<Store> => {
    openings += 1;
    return openLevelStore(path, { onMissing: "fail" });
  };
  /** Too much at every look, nothing once it was opened anew. */
  const growing = () => {
    let seen = 0;
    return async (): Promise<number> => {
      const isFresh = seen !== openings;
      seen = openings;
      return isFresh ? 0 : 100;
    };
  };
  const read = async (store: Store, options: RangeOptions): Promise<readonly number[]> => {
    const keys: number[] = [];
    for await (const [key] of store.range(options))
      keys.push(((key[1] ?? 0) << 16) | ((key[2] ?? 0) << 8) | (key[3] ?? 0));
    return keys;
  };
  const upwards = Array.from({ length: count }, (_, index) => index);

  it("gives every entry once and in order, in both directions and up to a limit", async () => {
    await using store = await openResident({ open, bytesMax: 10, mapped: growing() });
    expect(await read(store, all)).to.deep.equal(upwards);
    const before = openings;
    expect(before).to.be.greaterThan(2);
    expect(await read(store, { ...all, reverse: true })).to.deep.equal(upwards.toReversed());
    expect(await read(store, { ...all, limit: 21_000 })).to.deep.equal(upwards.slice(0, 21_000));
    expect(openings).to.be.greaterThan(before + 1);
  });

  it("gives every entry of two ranges and of lookups beside each other", async () => {
    await using store = await openResident({ open, bytesMax: 10, mapped: growing() });
    const lookUp = async (): Promise<number> => {
      let found = 0;
      for (let from = 0; from < count; from += 500) {
        const values = await store.getMany(upwards.slice(from, from + 500).map(keyOf));
        found += values.filter((value) => value !== undefined).length;
        if ((await store.get(keyOf(from))) === undefined) return -1;
      }
      return found;
    };
    const [one, other, found] = await Promise.all([
      read(store, all),
      read(store, { ...all, reverse: true }),
      lookUp(),
    ]);
    expect(one).to.deep.equal(upwards);
    expect(other).to.deep.equal(upwards.toReversed());
    expect(found).to.equal(count);
    expect(openings).to.be.greaterThan(2);
  });

  it("is not opened again while little is in memory, nor where opening frees nothing", async () => {
    await using little = await openResident({ open, bytesMax: 1000, mapped: growing() });
    await read(little, all);
    expect(openings).to.equal(1);
    await little.close();
    let mapped = 0;
    await using stubborn = await openResident({ open, bytesMax: 10, mapped: async () => (mapped += 20) });
    await read(stubborn, all);
    expect(openings).to.equal(3);
  });

  it("fails as its store fails", async () => {
    const broken = async (): Promise<Store> =>
      createFaultyStore(await open(), { operation: "range", nth: 1, when: "before", then: "fails" });
    await using store = await openResident({ open: broken, bytesMax: 10, mapped: growing() });
    const failed = await read(store, all).catch((error: unknown) => error);
    expect(failed).to.be.instanceOf(SigilFault);
  });

  it("knows what this process has in memory of files, where the system says it", async () => {
    const mapped = await mappedBytes();
    if (mapped !== undefined) expect(mapped).to.be.greaterThan(1 << 20);
  });
});
