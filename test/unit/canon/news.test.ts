/**
 * Who is woken by a commit: the watches of the tenants it is about, a few a turn, and by a commit of decisions nobody.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { News } from "../../../src/canon/records/news.ts";
import type { CommitListener } from "../../../src/ledger/append/options.ts";
import { bellsPerTurn, newsPositionsMax } from "../../../src/limits.ts";

type Committed = Parameters<CommitListener>[0][number];

const made = () => {
  let listener: CommitListener = () => {};
  let size = 10n;
  const news = new News({
    reader: { size },
    feed: {
      subscribe: (added) => {
        listener = added;
        return () => {};
      },
    },
  });
  const commit = (...records: readonly (readonly [tenant: string, kind: string])[]): void => {
    listener(
      records.map(([tenant, kind]) => {
        const position = size;
        size += 1n;
        return { position, version: 1n, body: { tenant, kind } } as unknown as Committed;
      }),
    );
  };
  return { news, commit };
};

const never = new AbortController().signal;
const hourMs = 3_600_000;

/** Waits on a bell, and says when it was woken. */
const waiting = (news: News, tenant: string, signal = never) => {
  const { bell, end } = news.watch(tenant);
  const state = { woken: false };
  void bell.wait(hourMs, signal).then(() => (state.woken = true));
  return { bell, end, state };
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("news for watches", () => {
  it("wake the watches of their tenant, and decisions wake nobody", async () => {
    const { news, commit } = made();
    const stop = new AbortController();
    const [acme, other] = [waiting(news, "acme", stop.signal), waiting(news, "other", stop.signal)];
    commit(["acme", "frozen_chain"], ["other", "frozen_chain"]);
    for (let turns = 0; turns < 3; turns += 1) await turn();
    expect([acme.state.woken, other.state.woken]).to.deep.equal([false, false]);
    expect(news.seen).to.equal(12n);
    commit(["acme", "note"]);
    for (let turns = 0; turns < 3; turns += 1) await turn();
    expect([acme.state.woken, other.state.woken]).to.deep.equal([true, false]);
    stop.abort();
  });

  it("wake so many a turn, and all of them in the end", async () => {
    const { news, commit } = made();
    const all = Array.from({ length: bellsPerTurn * 3 }, () => waiting(news, "acme"));
    const woken = (): number => all.filter(({ state }) => state.woken).length;
    commit(["acme", "note"]);
    expect(woken()).to.equal(0);
    let before = 0;
    for (let turns = 0; woken() < all.length; turns += 1) {
      await turn();
      expect(woken() - before).to.be.at.most(bellsPerTurn);
      before = woken();
      expect(turns).to.be.below(50);
    }
  });

  it("are kept for a watch that was busy, by position, as far back as they go", () => {
    const { news, commit } = made();
    expect(news.since("acme", 10n)).to.equal(undefined);
    const { bell, end } = news.watch("acme");
    expect(news.since("acme", 9n), "before anybody watched").to.equal(undefined);
    commit(["acme", "note"], ["other", "note"], ["acme", "frozen_chain"], ["acme", "task"]);
    expect(bell.isRung).to.equal(true);
    expect(news.since("acme", 10n)?.map(({ position }) => position)).to.deep.equal([10n, 13n]);
    expect(news.since("acme", 11n)?.map(({ position }) => position)).to.deep.equal([13n]);
    for (let count = 0; count <= newsPositionsMax; count += 1) commit(["acme", "note"]);
    expect(news.since("acme", 13n), "longer ago than is kept").to.equal(undefined);
    const last = news.seen - 1n;
    expect(news.since("acme", last)?.map(({ position }) => position)).to.deep.equal([last]);
    end();
    expect(news.since("acme", last)).to.equal(undefined);
  });

  it("read a record once for all who are about to, and again after it failed", async () => {
    const { news } = made();
    let reads = 0;
    const read = async (): Promise<never> => {
      reads += 1;
      await turn();
      throw new Error("damaged");
    };
    const both = [news.share(3n, read), news.share(3n, read)];
    await Promise.allSettled(both);
    expect(reads).to.equal(1);
    await news.share(3n, read).catch(() => {});
    expect(reads).to.equal(2);
  });
});
