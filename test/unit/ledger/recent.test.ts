/**
 * What a start reads of the newest decisions: shares of a bound, what is left of them shared again, and who was cut
 * short.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { RecentEnd } from "../../../src/ledger/decisions/recent.ts";
import { createWorld, decisionBody, openWorld } from "../../contract/memory-ledger.ts";

const counts: Readonly<Record<string, number>> = { acme: 30, busy: 2000, calm: 10 };
const startMs = 1_700_000_000_000;

describe("what a start reads of the newest decisions", () => {
  let ledger: Ledger;
  before(async () => {
    ledger = await openWorld(await createWorld());
    for (const [tenant, count] of Object.entries(counts)) {
      const bodies = Array.from({ length: count }, (_, index) => ({
        ...decisionBody(`${tenant}-${index}`, { tenant }),
        ts: startMs + index,
      }));
      for (let from = 0; from < count; from += 1000) await ledger.append(bodies.slice(from, from + 1000));
    }
  });
  after(() => ledger.close());

  const read = async (entriesMax: number, sinceMs = 0) => {
    const times: Record<string, number[]> = {};
    const end: RecentEnd = await ledger.reader.recentDecisions({ sinceMs, entriesMax }, ({ tenant, ts }) => {
      (times[tenant] ??= []).push(ts - startMs);
    });
    return { times, end };
  };
  const newest = (tenant: string, count: number): readonly number[] =>
    Array.from({ length: count }, (_, index) => (counts[tenant] ?? 0) - 1 - index);

  it("is all of them where the bound allows it, to the last entry", async () => {
    for (const entriesMax of [2040, 2041, 1_000_000]) {
      const { times, end } = await read(entriesMax);
      expect(end.cut, String(entriesMax)).to.deep.equal([]);
      for (const [tenant, count] of Object.entries(counts)) {
        expect(times[tenant], tenant).to.deep.equal(newest(tenant, count));
      }
    }
  });

  it("is the newest of each tenant's share, with what others leave of theirs, and names who was cut", async () => {
    const { times, end } = await read(100);
    expect(end.cut).to.deep.equal(["busy"]);
    expect(times).to.deep.equal({
      acme: newest("acme", 30),
      busy: newest("busy", 60),
      calm: newest("calm", 10),
    });
    const few = await read(6);
    expect(few.end.cut).to.have.members(["acme", "busy", "calm"]);
    expect(few.times).to.deep.equal({
      acme: newest("acme", 2),
      busy: newest("busy", 2),
      calm: newest("calm", 2),
    });
  });

  it("gives no tenant's share to another that has more", async () => {
    const { times } = await read(60);
    expect(times["calm"]).to.deep.equal(newest("calm", 10));
    expect(times["acme"]).to.have.length.of.at.least(20);
  });

  it("ends where decisions are older than asked for, and is whole then", async () => {
    const { times, end } = await read(2000, startMs + 1900);
    expect(end.cut).to.deep.equal([]);
    expect(times).to.deep.equal({ busy: newest("busy", 99) });
  });
});
