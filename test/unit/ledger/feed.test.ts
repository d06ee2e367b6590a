/**
 * Committed records by position: each once and in order, from anywhere, whatever the reader's pace and the ledger's
 * health.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseHash } from "../../../src/core/bytes.ts";
import type { Disclosures } from "../../../src/core/record/commitment.ts";
import { formatErasure } from "../../../src/core/record/kinds.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import type { FeedRecord } from "../../../src/ledger/append/options.ts";
import { Feed, type FeedSource } from "../../../src/ledger/feed.ts";
import { erasedError } from "../../../src/ledger/layout/erasure.ts";
import { feedBatchBytesMax, feedBatchRecordsMax, feedTailBytesMax } from "../../../src/limits.ts";
import { SigilFault, type SigilError } from "../../../src/errors.ts";
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

type Read = AsyncGenerator<{ readonly records: readonly FeedRecord[]; readonly next: bigint }>;

const upTo = (from: bigint, to: bigint): readonly bigint[] =>
  Array.from({ length: Number(to - from) }, (_, at) => from + BigInt(at));

const positionsOf = (records: readonly FeedRecord[]): readonly bigint[] =>
  records.map(({ position }) => position);

/** Everything up to a size, as one who stops there takes it. */
const readUpTo = async (feed: Feed, from: bigint, size: bigint): Promise<readonly FeedRecord[]> => {
  const stop = new AbortController();
  const records: FeedRecord[] = [];
  if (from === size) return records;
  for await (const batch of feed.from(from, stop)) {
    records.push(...batch.records);
    if (batch.next >= size) stop.abort();
  }
  return records;
};

const take = async (reading: Read) => {
  const { value, done } = await reading.next();
  return done === true ? undefined : { positions: positionsOf(value.records), next: value.next };
};

const hash = parseHash(new Uint8Array(32));
const doomed = erasedError({ tenant: "doomed", position: 0n, hash, reported: false });

/** A feed over a list that stands for the store, and counts what is read from it. */
const createBench = () => {
  const stored: FeedRecord[] = [];
  const erased = new Set<string>();
  const faults: unknown[] = [];
  let reads = 0;
  let disclosures: Disclosures = {};
  const at = (position: bigint): FeedRecord => stored[Number(position)] ?? expect.fail("not stored");
  const reader = {
    readAt: async (position: bigint) => {
      reads += 1;
      const record = at(position);
      if (erased.has(record.body.tenant)) throw new SigilFault(doomed);
      return { ...record, disclosures };
    },
    versionBelow: async () => ({ position: 0n, version: 1n }),
  };
  const source: FeedSource = { reader, size: 0n, onFault: (cause) => faults.push(cause) };
  const feed = new Feed(source);
  /** On disk, and not acknowledged. */
  const store = (...bodies: readonly RecordBody[]): readonly FeedRecord[] => {
    const first = stored.length;
    const envelope = new Uint8Array(2048);
    const records = bodies.map((body, index) => {
      return { position: BigInt(first + index), hash, version: 1n, body, envelope };
    });
    stored.push(...records);
    return records;
  };
  const commit = (...bodies: readonly RecordBody[]): void =>
    feed.publish(store(...bodies), BigInt(stored.length));
  /** Of every record that is read from the store. */
  const disclose = (all: Disclosures): void => void (disclosures = all);
  return { feed, commit, store, disclose, erased, faults, reads: () => reads };
};

describe("the feed of committed records", () => {
  it("begins at every position, and resumes where any batch ended", async () => {
    await using ledger = await openWorld(await createWorld());
    const [first] = await ledger.append([userBody("a"), decisionBody("d1")]);
    await ledger.append([userBody("a", { note: "again" }, { prev: first?.hash ?? null })]);
    for (const id of ["b", "c", "d"]) await ledger.append([userBody(id), decisionBody(`of-${id}`)]);
    const { feed, reader } = ledger;
    const { size } = reader;
    for (const from of upTo(0n, size + 1n)) {
      const records = await readUpTo(feed, from, size);
      expect(positionsOf(records)).to.deep.equal(upTo(from, size));
      for (const { version, ...record } of records) {
        expect(await reader.readAt(record.position)).to.deep.include(record);
        expect(version).to.equal(record.position === 3n ? 2n : 1n);
      }
    }
    expect(await faultOf(readUpTo(feed, size + 1n, size + 2n))).to.include({ kind: "sizeOutOfRange" });
  });

  it("goes over from the store to what is committed meanwhile, without a gap or a repetition", async () => {
    const { feed, commit, reads } = createBench();
    const before = feedBatchRecordsMax + 10;
    for (let made = 0; made < before; made += 1) commit(userBody("a"));
    const stop = new AbortController();
    const reading = feed.from(0n, stop);
    expect((await take(reading))?.next).to.equal(BigInt(feedBatchRecordsMax));
    commit(userBody("b"), userBody("c"));
    const size = BigInt(before + 2);
    expect(await take(reading)).to.deep.equal({
      positions: upTo(BigInt(feedBatchRecordsMax), size),
      next: size,
    });
    const fromStore = reads();
    for (let next = size; next < size + 50n; next += 1n) {
      const taking = take(reading);
      commit(userBody("live"));
      expect(await taking).to.deep.equal({ positions: [next], next: next + 1n });
    }
    expect(reads(), "what was committed last is not read again").to.equal(fromStore);
    stop.abort();
    expect(await take(reading)).to.equal(undefined);
  });

  it("gives what was disclosed to a reader who asks, from the store alone, and to no other", async () => {
    const { feed, commit, disclose, reads } = createBench();
    for (let made = 0; made < 4; made += 1) commit(userBody("a"));
    const opening = { salt: new Uint8Array(32), value: null, raw: new Uint8Array(feedBatchBytesMax) };
    disclose({ input: opening });
    const [asking, other] = [new AbortController(), new AbortController()];
    const disclosed = feed.from(4n, { signal: asking.signal, disclosing: "included" });
    const withheld = feed.from(4n, { signal: other.signal });
    const [live, tailed] = [disclosed.next(), withheld.next()];
    commit(userBody("b"), userBody("c"));
    const fromStore = reads();
    const { value } = await tailed;
    expect(value?.records.map(({ disclosures }) => disclosures)).to.deep.equal([undefined, undefined]);
    // Their bytes count: the first one fills a batch.
    for (const read of [await live, await disclosed.next()]) {
      expect(read.value?.records.map(({ disclosures }) => disclosures)).to.deep.equal([{ input: opening }]);
    }
    expect(reads()).to.equal(fromStore + 2);
    asking.abort();
    other.abort();
  });

  it("costs a bounded number of bytes for one who stops reading for 10,000 commits, and misses none", async () => {
    const { feed, commit, reads } = createBench();
    const stop = new AbortController();
    const reading = feed.from(0n, stop);
    const first = take(reading);
    commit(userBody("first"));
    await first;
    let most = 0;
    for (let made = 0; made < 10_000; made += 1) {
      commit(userBody("more"));
      most = Math.max(most, feed.gauge.tailBytes);
    }
    expect(most).to.be.within(feedTailBytesMax / 2, feedTailBytesMax);
    const positions: bigint[] = [];
    for (let next = 1n; next < 10_001n;) {
      const batch = await take(reading);
      expect(batch?.positions.length).to.be.within(1, feedBatchRecordsMax);
      positions.push(...(batch?.positions ?? []));
      next = batch?.next ?? 10_001n;
    }
    expect(positions).to.deep.equal(upTo(1n, 10_001n));
    expect(reads()).to.be.within(1, 10_000 - 1);
    stop.abort();
    expect(feed.gauge).to.deep.equal({ readers: 0, tailBytes: 0 });
  });

  it("holds nothing for nobody, and releases everything at an abort, wherever its reader stands", async () => {
    const { feed, commit } = createBench();
    commit(userBody("a"));
    expect(feed.gauge).to.deep.equal({ readers: 0, tailBytes: 0 });
    const [waits, suspended, reads] = [new AbortController(), new AbortController(), new AbortController()];
    const [waiting, idle, busy] = [feed.from(1n, waits), feed.from(0n, suspended), feed.from(0n, reads)];
    const waited = take(waiting);
    await take(idle);
    commit(userBody("b"));
    await waited;
    const again = take(waiting);
    const read = take(busy);
    expect(feed.gauge).to.deep.equal({ readers: 3, tailBytes: 2048 });
    for (const [index, each] of [waits, suspended, reads].entries()) {
      each.abort();
      expect(feed.gauge.readers).to.equal(2 - index);
    }
    expect(feed.gauge.tailBytes).to.equal(0);
    expect(await Promise.all([again, read, take(idle)])).to.deep.equal([undefined, undefined, undefined]);
    expect(await take(feed.from(0n, { signal: AbortSignal.abort() }))).to.equal(undefined);
    expect(feed.gauge.readers).to.equal(0);
  });

  it("leaves out an erased tenant's records, from the store and from what was committed last", async () => {
    const { feed, commit, store, erased } = createBench();
    commit(userBody("a"), userBody("b", {}, { tenant: "doomed" }), userBody("c"));
    const { signal } = new AbortController();
    const [old, live] = [feed.from(0n, { signal }), feed.from(3n, { signal })];
    expect(await take(old)).to.deep.equal({ positions: [0n, 1n, 2n], next: 3n });
    const taking = take(live);
    commit(userBody("d", {}, { tenant: "doomed" }));
    await taking;
    commit(userBody("e", {}, { tenant: "doomed" }));
    commit(systemBody("erasure", "erasure/doomed", formatErasure({ tenant: "doomed", reason: "asked" })));
    erased.add("doomed");
    expect(feed.gauge.tailBytes).to.equal(0);
    expect(await take(live)).to.deep.equal({ positions: [5n], next: 6n });
    expect(await take(old)).to.deep.equal({ positions: [5n], next: 6n });
    expect(await take(feed.from(0n, { signal }))).to.deep.equal({ positions: [0n, 2n, 5n], next: 6n });
    // What a recovery finds kept has gaps where records of the erased are.
    const found = take(live);
    store(userBody("f"), userBody("g", {}, { tenant: "doomed" }), userBody("h"));
    await feed.catchUp(9n);
    expect(await take(feed.from(7n, { signal }))).to.deep.equal({ positions: [8n], next: 9n });
    expect(await found).to.deep.equal({ positions: [6n, 8n], next: 9n });
  });

  it("shows a commit of unknown outcome once when a recovery finds it kept, to readers and listeners", async () => {
    const world = await createWorld();
    let store: FaultyStore | undefined;
    await using ledger = await openWorld(world, {
      openStore: async () => (store = createFaultyStore(await world.options.openStore())),
    });
    const heard: bigint[] = [];
    ledger.feed.subscribe((records) => heard.push(...records.map(({ position }) => position)));
    const stop = new AbortController();
    const seen: bigint[] = [];
    const reading = (async () => {
      for await (const { records } of ledger.feed.from(0n, stop)) seen.push(...positionsOf(records));
    })();
    await ledger.append([userBody("a")]);
    store?.plan({ operation: "commit", nth: 1, when: "after", then: "fails" });
    const fault = await faultOf(ledger.append([userBody("b"), userBody("b2")]));
    expect(fault).to.include({ kind: "indeterminate" });
    store?.plan(null);
    await untilStatus(ledger, "serving");
    await ledger.append([userBody("c")]);
    expect(ledger.reader.size).to.equal(5n);
    while (!seen.includes(4n)) await new Promise((resolve) => setImmediate(resolve));
    expect([seen, heard]).to.deep.equal([upTo(0n, 5n), upTo(1n, 5n)]);
    stop.abort();
    await reading;
  });

  it("ends with the reason when the ledger closes, and when it refuses to serve", async () => {
    const endOf = async (
      act: (feed: Feed, ledger: Awaited<ReturnType<typeof openWorld>>) => Promise<void>,
    ) => {
      const ledger = await openWorld(await createWorld());
      const { signal } = new AbortController();
      const reading = ledger.feed.from(ledger.reader.size, { signal });
      const waiting = faultOf(take(reading));
      await act(ledger.feed, ledger);
      const ended = await waiting;
      expect(await faultOf(take(ledger.feed.from(0n, { signal })))).to.deep.equal(ended);
      expect(ledger.feed.gauge.readers).to.equal(0);
      await ledger.close();
      return ended;
    };
    expect(await endOf((_, ledger) => ledger.close())).to.deep.equal({
      kind: "notServing",
      rule: "the ledger is closed",
    });
    const refusal: SigilError = { kind: "ledgerCorrupt", position: 1n, rule: "planned" };
    expect(await endOf(async (feed) => feed.end(refusal))).to.deep.equal(refusal);
  });

  it("goes on although a listener throws, and stops calling who left", () => {
    const { feed, commit, faults } = createBench();
    const heard: bigint[] = [];
    const planned = new Error("planned");
    feed.subscribe(() => {
      throw planned;
    });
    const forget = feed.subscribe((records) => heard.push(...records.map(({ position }) => position)));
    commit(userBody("a"));
    forget();
    commit(userBody("b"));
    expect([heard, faults]).to.deep.equal([[0n], [planned, planned]]);
  });
});
