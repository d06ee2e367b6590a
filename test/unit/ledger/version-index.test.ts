/** What the ledger answers about versions of ids, at its own size and at an older one. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { hashRecord, encodeBody, type RecordBody } from "../../../src/core/record/record.ts";
import type { Hash } from "../../../src/core/bytes.ts";
import type { CommittedRecord, Ledger } from "../../../src/ledger/ledger.ts";
import type { HistoryWalk, VersionListing } from "../../../src/ledger/layout/version-index.ts";
import { createFaultyStore, type FaultyStore } from "../../contract/faulty-store.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  openWorld,
  systemBody,
  untilStatus,
  userBody,
} from "../../contract/memory-ledger.ts";

const collect = async <T>(items: AsyncIterable<T>): Promise<readonly T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

const hashOf = (body: RecordBody): Hash => hashRecord(encodeBody(body));

/** Bodies of versions of one id that follow each other, in one tenant. */
const chain = (id: string, count: number, changes: Partial<RecordBody> = {}): readonly RecordBody[] => {
  const bodies: RecordBody[] = [];
  for (let version = 1; version <= count; version += 1) {
    const last = bodies.at(-1);
    const prev = last === undefined ? null : hashOf(last);
    bodies.push({ ...userBody(id, version), ...changes, prev });
  }
  return bodies;
};

const positionsOf = (appended: readonly { readonly position: bigint }[]): readonly bigint[] =>
  appended.map(({ position }) => position);

describe("the versions of ids", () => {
  let ledger: Ledger;
  /** Size before and after the second half of the versions was appended. */
  let half: bigint;
  let size: bigint;
  /** Positions of every version of "a", from 1. */
  let ofA: readonly bigint[];

  before(async () => {
    ledger = await openWorld(await createWorld());
    const a = chain("a", 6);
    const early = await ledger.append(a.slice(0, 3));
    await ledger.append([userBody("a0"), decisionBody("a-decision"), userBody("a/b"), userBody("b/x")]);
    await ledger.append([
      userBody("a/other", 1, { tenant: "acme-2" }),
      userBody("a/z", 1, { tenant: "acm" }),
    ]);
    await ledger.append([systemBody("user_space", "a/s", {})].map((body) => ({ ...body, space: "user" })));
    half = ledger.reader.size;
    const late = await ledger.append(a.slice(3));
    await ledger.append([
      { ...userBody("a/new"), kind: "recipe" },
      { ...userBody("c"), kind: "recipe" },
    ]);
    size = ledger.reader.size;
    ofA = positionsOf([...early, ...late]);
  });

  const list = (changes: Partial<VersionListing> = {}) =>
    collect(
      ledger.reader.versions({
        tenant: "acme",
        space: "user",
        idPrefix: "",
        size,
        scanMax: 1000,
        ...changes,
      }),
    );
  const idsOf = async (changes: Partial<VersionListing> = {}) =>
    (await list(changes)).filter(({ skipped }) => !skipped).map(({ id }) => id);
  const walk = (changes: Partial<HistoryWalk> = {}) =>
    collect(
      ledger.reader.history({
        tenant: "acme",
        space: "user",
        id: "a",
        order: "newestFirst",
        limit: 100,
        size,
        ...changes,
      }),
    );
  const versionsOf = async (changes: Partial<HistoryWalk> = {}) =>
    (await walk(changes)).map(({ version }) => Number(version));

  it("are listed once an id, the newest of each, in id order, without decisions", async () => {
    const listed = await list();
    expect(listed.map(({ id, version }) => [id, version])).to.deep.equal([
      ["a", 6n],
      ["a/b", 1n],
      ["a/new", 1n],
      ["a0", 1n],
      ["b/x", 1n],
      ["c", 1n],
    ]);
    expect(listed[0]).to.deep.equal({ id: "a", version: 6n, position: ofA[5], skipped: false, scanned: 6 });
    for (const { id, position } of listed)
      expect((await ledger.reader.readAt(position)).body.id).to.equal(id);
  });

  it("are listed by prefix, also when the prefix is itself an id", async () => {
    expect(await idsOf({ idPrefix: "a" })).to.deep.equal(["a", "a/b", "a/new", "a0"]);
    expect(await idsOf({ idPrefix: "a/" })).to.deep.equal(["a/b", "a/new"]);
    expect(await idsOf({ idPrefix: "a0" })).to.deep.equal(["a0"]);
    expect(await idsOf({ idPrefix: "b/y" })).to.deep.equal([]);
  });

  it("are listed of one tenant and space alone, whatever other names begin with theirs", async () => {
    expect(await idsOf({ tenant: "acm" })).to.deep.equal(["a/z"]);
    expect(await idsOf({ tenant: "acme-2" })).to.deep.equal(["a/other"]);
    expect(await idsOf({ tenant: "ac" })).to.deep.equal([]);
    expect(await idsOf({ tenant: "system" })).to.deep.equal(["a/s"]);
    expect(await idsOf({ tenant: "system", space: "system" })).to.deep.equal(["genesis"]);
  });

  it("that came later do not show at an older size", async () => {
    const listed = await list({ size: half });
    expect(listed[0]).to.include({ id: "a", version: 3n, position: ofA[2], skipped: false });
    expect(listed.filter(({ skipped }) => skipped).map(({ id }) => id)).to.deep.equal(["a/new", "c"]);
    expect(await idsOf({ size: (ofA[1] ?? 0n) + 1n })).to.deep.equal(["a"]);
    expect(await idsOf({ size: ofA[0] ?? 0n })).to.deep.equal([]);
  });

  it("are shortlisted by kind, and what does not match still tells its id", async () => {
    expect(await idsOf({ kind: "recipe" })).to.deep.equal(["a/new", "c"]);
    expect(await idsOf({ kind: "user_data" })).to.deep.equal(["a", "a/b", "a0", "b/x"]);
    const none = await list({ kind: "nothing" });
    expect(none.every(({ skipped }) => skipped)).to.equal(true);
    expect(none).to.have.lengthOf(6);
  });

  it("continue after any id, there or not, to the same end", async () => {
    expect(await idsOf({ after: "a" })).to.deep.equal(["a/b", "a/new", "a0", "b/x", "c"]);
    expect(await idsOf({ after: "a/c", idPrefix: "a" })).to.deep.equal(["a/new", "a0"]);
    expect(await idsOf({ after: "A", idPrefix: "b" })).to.deep.equal(["b/x"]);
    expect(await idsOf({ after: "d", idPrefix: "b" })).to.deep.equal([]);
  });

  it("come to an end page by page, however few entries a page may look at", async () => {
    const ids: string[] = [];
    let pages = 0;
    for (let after: string | undefined, left = true; left && pages < 10; pages += 1) {
      const page = await list({ after, scanMax: 1 });
      expect(page.length).to.be.at.most(1);
      ids.push(...page.map(({ id }) => id));
      after = page.at(-1)?.id;
      left = (page.at(-1)?.scanned ?? 0) >= 1;
    }
    expect(ids).to.deep.equal(["a", "a/b", "a/new", "a0", "b/x", "c"]);
    expect(pages).to.equal(7);
    expect((await list({ scanMax: 8 })).map(({ id }) => id)).to.deep.equal(["a", "a/b", "a/new"]);
  });

  it("are found by number, and the newest by size", async () => {
    for (const [index, position] of ofA.entries()) {
      const version = BigInt(index + 1);
      expect(await ledger.reader.versionAt("acme", "user", "a", version)).to.equal(position);
      const below = await ledger.reader.versionBelow("acme", "user", "a", position + 1n);
      expect(below).to.deep.equal({ position, version });
      const before = await ledger.reader.versionBelow("acme", "user", "a", position);
      expect(before?.version ?? 0n).to.equal(version - 1n);
    }
    for (const version of [0n, 7n, 2n ** 64n - 1n]) {
      expect(await ledger.reader.versionAt("acme", "user", "a", version)).to.equal(undefined);
    }
    expect(await ledger.reader.versionBelow("acme", "user", "a/", size)).to.equal(undefined);
    expect(await ledger.reader.versionBelow("acme", "user", "a-decision", size)).to.equal(undefined);
  });

  it("are walked in both orders, from any version, up to a limit", async () => {
    expect(await versionsOf()).to.deep.equal([6, 5, 4, 3, 2, 1]);
    expect(await versionsOf({ order: "oldestFirst" })).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect(await versionsOf({ fromVersion: 4n, limit: 2 })).to.deep.equal([4, 3]);
    expect(await versionsOf({ fromVersion: 4n, order: "oldestFirst", limit: 2 })).to.deep.equal([4, 5]);
    expect(await versionsOf({ fromVersion: 2n ** 64n - 1n })).to.deep.equal([6, 5, 4, 3, 2, 1]);
    expect(await versionsOf({ fromVersion: 7n, order: "oldestFirst" })).to.deep.equal([]);
    expect(await versionsOf({ fromVersion: 0n })).to.deep.equal([]);
    expect(await versionsOf({ id: "a/nothing" })).to.deep.equal([]);
    expect(positionsOf(await walk({ order: "oldestFirst" }))).to.deep.equal(ofA);
  });

  it("are walked as they were at an older size", async () => {
    expect(await versionsOf({ size: half })).to.deep.equal([3, 2, 1]);
    expect(await versionsOf({ size: half, fromVersion: 5n })).to.deep.equal([3, 2, 1]);
    expect(await versionsOf({ size: half, order: "oldestFirst", fromVersion: 2n })).to.deep.equal([2, 3]);
    expect(await versionsOf({ size: ofA[0] ?? 0n })).to.deep.equal([]);
  });
});

describe("an id with 3,000 versions", () => {
  const count = 3000;
  let ledger: Ledger;
  let store: FaultyStore;
  before(async () => {
    const world = await createWorld();
    ledger = await openWorld(world, {
      openStore: async () => (store = createFaultyStore(await world.options.openStore())),
    });
    const bodies = chain("many", count);
    await ledger.append([userBody("last", 1)]);
    for (let from = 0; from < count; from += 1000) await ledger.append(bodies.slice(from, from + 1000));
    await ledger.append([userBody("many/more", 1)]);
  });
  const place = { tenant: "acme", space: "user", idPrefix: "" };

  it("is listed once, by far fewer entries, at every size", async () => {
    for (const versions of [1, 63, 64, 65, 1000, 2047, 2048, 2999, count]) {
      // Position 0 is the genesis record, 1 is "last".
      const size = BigInt(versions) + 2n;
      const listed = await collect(ledger.reader.versions({ ...place, size, scanMax: 1000 }));
      expect(listed.map(({ id }) => id)).to.deep.equal(["last", "many", "many/more"]);
      expect(listed[1]).to.include({ version: BigInt(versions), position: size - 1n, skipped: false });
      expect(listed[2]?.scanned, `at ${versions} versions`).to.be.lessThan(90);
    }
  });

  it("does not keep a listing from getting past it, whatever the bound", async () => {
    const { size } = ledger.reader;
    const first = await collect(ledger.reader.versions({ ...place, size, scanMax: 2 }));
    expect(first.map(({ id, version }) => [id, version])).to.deep.equal([
      ["last", 1n],
      ["many", 3000n],
    ]);
    const rest = await collect(ledger.reader.versions({ ...place, size, scanMax: 2, after: "many" }));
    expect(rest.map(({ id }) => id)).to.deep.equal(["many/more"]);
    expect(rest[0]?.scanned).to.equal(1);
  });

  it("gives any page of its history without a look at the rest", async () => {
    const page = await collect(
      ledger.reader.history({
        tenant: "acme",
        space: "user",
        id: "many",
        order: "newestFirst",
        limit: 3,
        size: 1502n,
      }),
    );
    expect(page.map(({ version }) => version)).to.deep.equal([1500n, 1499n, 1498n]);
    store.plan({ operation: "range", nth: 14, when: "before", then: "works" });
    expect(await ledger.reader.versionBelow("acme", "user", "many", 1502n)).to.include({ version: 1500n });
    expect(store.tripped()).to.equal(false);
    store.plan(null);
  });
});

describe("a commit that was found kept after a store error", () => {
  it("shows each of its versions of one id with its own number", async () => {
    const world = await createWorld();
    let store: FaultyStore | undefined;
    await using ledger = await openWorld(world, {
      openStore: async () => (store = createFaultyStore(await world.options.openStore())),
    });
    const seen: CommittedRecord[] = [];
    ledger.feed.subscribe((records) => seen.push(...records));
    store?.plan({ operation: "commit", nth: 1, when: "after", then: "works" });
    const unit = [...chain("a", 3), decisionBody("d")];
    expect(await faultOf(ledger.append(unit))).to.include({ kind: "indeterminate" });
    await untilStatus(ledger, "serving");
    expect(seen.map(({ body, version }) => [body.id, version])).to.deep.equal([
      ["a", 1n],
      ["a", 2n],
      ["a", 3n],
      ["d", 1n],
    ]);
  });
});
