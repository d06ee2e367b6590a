/** A page of any walk: its end, what it holds at least, and that page after page gives the whole walk once. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { pageEnvelopeBytesMax } from "../../../src/limits.ts";
import { PageRoom, PageTokens, takeFew, takePage, type Walked } from "../../../src/ledger/layout/paging.ts";
import { faultOf } from "../../contract/memory-ledger.ts";

type Entry = { readonly name: number; readonly bytes: number };

const match = (entry: Entry): Walked<Entry> => ({ kind: "match", item: entry, at: [entry.name] });
const bytesOf = ({ bytes }: Entry): number => bytes;
const named = (items: readonly Entry[]): readonly number[] => items.map(({ name }) => name);

const ledger = {
  authenticate: async (tenant: string, bytes: Uint8Array) =>
    new Uint8Array(createHash("sha256").update(tenant).update(bytes).digest()),
};

describe("a page", () => {
  it("is as long as its size and the bytes of a reply let it, one item at least; its token begins with the next", async () => {
    const entry = fc.record({ name: fc.nat(), bytes: fc.nat({ max: pageEnvelopeBytesMax * 2 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(entry), fc.integer({ min: 1, max: 10 }), async (entries, size) => {
        let rest = entries;
        do {
          const { items, next } = await takePage(rest.map(match), new PageRoom(size, bytesOf));
          expect(named(items)).to.deep.equal(named(rest.slice(0, items.length)));
          if (rest.length > 0) expect(items.length).to.be.within(1, size);
          const bytes = items.reduce((sum, each) => sum + each.bytes, 0);
          if (items.length > 1) expect(bytes).to.be.at.most(pageEnvelopeBytesMax);
          const first = rest[items.length];
          expect(next).to.deep.equal(first && [first.name]);
          const isFull = items.length === size || bytes + (first?.bytes ?? 0) > pageEnvelopeBytesMax;
          expect(first === undefined || isFull).to.equal(true);
          rest = rest.slice(items.length);
        } while (rest.length > 0);
      }),
    );
  });

  it("ends where its walk pauses, and asks it for nothing more", async () => {
    const asked: number[] = [];
    const walk = function* (): Generator<Walked<Entry>> {
      for (const name of [1, 2, 3]) {
        asked.push(name);
        yield name === 2 ? { kind: "pause", at: [2] } : match({ name, bytes: 1 });
      }
    };
    const { items, next } = await takePage(walk(), new PageRoom(50, bytesOf));
    expect([named(items), next, asked]).to.deep.equal([[1], [2], [1, 2]]);
  });
});

describe("a page of what is few", () => {
  const entries = [1, 2, 3].map((name) => ({ name, bytes: 1 }));
  const placeOf = ({ name }: Entry): string => String(name);

  it("is all of it unless a size is asked for, and goes on by its token, which is its walk's alone", async () => {
    const tokens = new PageTokens(ledger, "system", ["a"]);
    const all = await takeFew(entries, { pageSize: 0, pageToken: "" }, tokens, { placeOf });
    expect([named(all.items), all.nextPageToken]).to.deep.equal([[1, 2, 3], ""]);
    const first = await takeFew(entries, { pageSize: 2, pageToken: "" }, tokens, { placeOf });
    const query = { pageSize: 2, pageToken: first.nextPageToken };
    const second = await takeFew(entries, query, tokens, { placeOf });
    expect([named(first.items), named(second.items), second.nextPageToken]).to.deep.equal([[1, 2], [3], ""]);
    for (const other of [new PageTokens(ledger, "system", ["b"]), new PageTokens(ledger, "acme", ["a"])]) {
      const fault = await faultOf(takeFew(entries, query, other, { placeOf }));
      expect(fault?.kind).to.equal("invalidPageToken");
    }
  });
});
