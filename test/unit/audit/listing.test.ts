/**
 * What one listing may take: time and records, then it answers the page it has; and the event loop, one slice a turn.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import type { ChainQuery } from "../../../src/audit/evidence.ts";
import { listChains, type ListingDependencies } from "../../../src/audit/listing.ts";
import { WalkTurns } from "../../../src/audit/walk-turns.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import type { VerifiedRecord } from "../../../src/ledger/read/examine.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { listCandidatesMax, listWalkMsMax } from "../../../src/limits.ts";
import { createWorld, decisionBody, openWorld } from "../../contract/memory-ledger.ts";

const decisions = 90;
const caller: Caller = {
  principal: "ann",
  tenant: "acme",
  level: "observer",
  credential: "token",
  peer: "",
};
const everything: ChainQuery = {
  tenant: "",
  principal: "",
  action: "",
  targetGlob: "",
  targetPrefix: "",
  reason: "",
  session: "",
  verdict: undefined,
  fromMs: undefined,
  untilMs: undefined,
  fromPosition: 0n,
  order: "oldestFirst",
  pageSize: 1000,
  pageToken: "",
};
/** No index answers it: every record is opened. */
const noHit = { ...everything, targetGlob: "**/never" };
const compileGlob = () => () => false;

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

type ReadLedger = ListingDependencies["ledger"];

/** A ledger of so many decisions, all of them one that is real, in slices. */
const longLedger = (
  real: Ledger,
  record: VerifiedRecord,
  { size, sliceLength, onSlice = () => {} }: { size: number; sliceLength: number; onSlice?: () => void },
): ReadLedger & { readonly opened: () => number } => {
  let opened = 0;
  return {
    size: BigInt(size),
    authenticate: (tenant, bytes) => real.reader.authenticate(tenant, bytes),
    readAt: async (position) => {
      opened += 1;
      return { ...record, position };
    },
    async *decisions({ start = 0n }) {
      for (let from = Number(start); from < size; from += sliceLength) {
        onSlice();
        const end = Math.min(size, from + sliceLength);
        const positions = Array.from({ length: end - from }, (_, at) => BigInt(from + at));
        yield { positions, resume: async () => (end === size ? undefined : BigInt(end)) };
      }
    },
    opened: () => opened,
  };
};

describe("the budget of a listing", () => {
  let ledger: Ledger;
  let record: VerifiedRecord;
  before(async () => {
    ledger = await openWorld(await createWorld());
    await ledger.append(Array.from({ length: decisions }, (_, at) => decisionBody(`decision-${at}`)));
    record = await ledger.reader.readAt(1n);
  });
  after(() => ledger[Symbol.asyncDispose]());

  /** Every page of a walk: the decisions on it and what it opened. */
  const pagesOf = async (
    deps: Pick<ListingDependencies, "clock"> & Partial<ListingDependencies>,
    query: ChainQuery,
    onPage: () => void = () => {},
  ): Promise<readonly (readonly bigint[])[]> => {
    const given = { ledger: ledger.reader, compileGlob, turns: new WalkTurns(), ...deps };
    const listing = { caller, tenant: "acme" };
    const pages: bigint[][] = [];
    for (let pageToken = ""; pages.length < 1000;) {
      const asked = { ...listing, query: { ...query, pageToken } };
      const page = await listChains(given, asked, new AbortController().signal);
      onPage();
      pages.push(page.chains.map((chain) => chain.record.position));
      pageToken = page.nextPageToken;
      if (pageToken === "") return pages;
    }
    throw new Error("the walk does not end");
  };
  const all = Array.from({ length: decisions }, (_, at) => BigInt(at + 1));

  for (const order of ["oldestFirst", "newestFirst"] as const) {
    it(`ends a page when its time is up, with a token, and every decision is on one of them (${order})`, async () => {
      let nowMs = 0;
      // As if every decision took a tenth of what one call has.
      const clock = (): number => (nowMs += listWalkMsMax / 10);
      const pages = await pagesOf({ clock }, { ...everything, order });
      expect(pages.length).to.be.above(5);
      const seen = pages.flat();
      expect(seen).to.deep.equal(order === "oldestFirst" ? all : all.toReversed());
    });
  }

  it("answers pages without a hit rather than none, and gets further with each, however slow it is", async () => {
    let nowMs = 0;
    // Past the end as soon as one looks.
    const clock = (): number => (nowMs += 2 * listWalkMsMax);
    const pages = await pagesOf({ clock }, noHit);
    expect(pages.flat()).to.deep.equal([]);
    expect(pages.length).to.be.above(1).and.at.most(decisions);
  });

  it("takes no page of what is quick", async () => {
    expect(await pagesOf({ clock: () => 0 }, everything)).to.deep.equal([all]);
  });

  // That many are opened inside a slice, and with the last of one.
  for (const sliceLength of [700, 500]) {
    it(`ends a page when it has opened as many records as one call may (slices of ${sliceLength})`, async () => {
      const long = longLedger(ledger, record, { size: 2 * listCandidatesMax + 500, sliceLength });
      const opened: number[] = [];
      const onPage = (): void =>
        void opened.push(long.opened() - opened.reduce((sum, each) => sum + each, 0));
      const pages = await pagesOf({ ledger: long, clock: () => 0 }, noHit, onPage);
      expect(pages).to.deep.equal([[], [], []]);
      expect(opened).to.deep.equal([listCandidatesMax, listCandidatesMax, 500]);
    });
  }

  it("lets the event loop turn between any two slices, however many walks are under way", async () => {
    let [slices, most, isOver] = [0, 0, false];
    const onSlice = (): void => void (slices += 1);
    const long = longLedger(ledger, record, { size: 300, sliceLength: 10, onSlice });
    const turns = new WalkTurns();
    const clock = (): number => 0;
    const walks = Array.from({ length: 8 }, () => pagesOf({ ledger: long, clock, turns }, noHit));
    const ended = Promise.all(walks).finally(() => (isOver = true));
    // Each begins by itself.
    await turn();
    let between = 0;
    while (!isOver) {
      const before = slices;
      await turn();
      most = Math.max(most, slices - before);
      between += 1;
    }
    await ended;
    expect(slices).to.equal(8 * 30);
    expect(most).to.equal(1);
    expect(between).to.be.at.least(8 * 29);
  });
});

describe("turns at walking", () => {
  it("are given one a turn of the event loop, first come, first served", async () => {
    const turns = new WalkTurns();
    const got: number[] = [];
    for (let at = 0; at < 5; at += 1) void turns.next().then(() => got.push(at));
    for (let at = 0; at < 5; at += 1) {
      expect(got).to.deep.equal(Array.from({ length: at }, (_, index) => index));
      await turn();
    }
    expect(got).to.deep.equal([0, 1, 2, 3, 4]);
    // It begins again after it ran out.
    const again = turns.next();
    await turn();
    await again;
  });

  it("never come at once: whoever waits lets the event loop turn", async () => {
    const turns = new WalkTurns();
    let isGiven = false;
    const waiting = turns.next().then(() => (isGiven = true));
    for (let at = 0; at < 100; at += 1) await Promise.resolve();
    expect(isGiven).to.equal(false);
    await waiting;
  });
});
