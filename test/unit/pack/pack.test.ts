/** Parts of evidence packs against versions that are deliberately dumb, and what text they refuse. */
import fc from "fast-check";
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { packGapsMax, packLineBytesMax } from "../../../src/core/limits.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import { foldTile } from "../../../src/core/merkle/tile.ts";
import type { NodeCoordinate } from "../../../src/core/merkle/tree.ts";
import { formatRow } from "../../../src/core/pack/columns.ts";
import { parseControls } from "../../../src/core/pack/controls.ts";
import { linesOf, type CallerLine } from "../../../src/core/pack/lines.ts";
import { Tally } from "../../../src/core/pack/tally.ts";
import { formatTime, parseTime } from "../../../src/core/pack/time.ts";
import { SparseTree } from "../../../src/core/pack/tree.ts";
import { naiveRoot, sampleEntries } from "../merkle/naive-tree.ts";

const entries = sampleEntries(70);
const leaf = (index: number): Hash => leafHash(entries[index] ?? new Uint8Array(0));

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

const collect = async (text: string, size: number): Promise<readonly string[]> => {
  const lines: string[] = [];
  for await (const line of linesOf(chunked(utf8Encode(text), size))) lines.push(line);
  return lines;
};

const rejection = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "",
    (error: Error) => error.message,
  );

/** A numbered decision, as far as a tally looks at it. */
const decision = (caller: string, number: number | undefined, position: number) =>
  ({
    position: BigInt(position),
    chain: { request: { caller }, callerSeq: number },
  }) as unknown as Parameters<Tally["add"]>[0];

describe("evidence packs", () => {
  it("have the root of the whole tree from some of its leaves, whichever, and the subtrees between them", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 70 }),
        fc.uniqueArray(fc.nat(69), { maxLength: 70 }),
        async (size, chosen) => {
          const leaves = Array.from({ length: size }, (_, index) => leaf(index));
          let read = 0;
          const subtree = ({ level, index }: NodeCoordinate): Hash => {
            read += 1;
            const from = Number(index) << level;
            return foldTile(leaves.slice(from, from + (1 << level)));
          };
          const tree = new SparseTree((nodes) => Promise.resolve(nodes.map(subtree)));
          const known = chosen.filter((index) => index < size).toSorted((a, b) => a - b);
          for (const index of known) await tree.add(BigInt(index), leaf(index));
          expect(await tree.close(BigInt(size))).to.deep.equal(naiveRoot(entries.slice(0, size)));
          expect(read <= 14 * (known.length + 1)).to.equal(true);
          if (known.length === size) expect(read).to.equal(0);
        },
      ),
    );
  });

  it("refuse a position that stands before another", async () => {
    const tree = new SparseTree((nodes) => Promise.resolve(nodes.map(() => leaf(0))));
    await tree.add(5n, leaf(5));
    expect(await rejection(tree.add(5n, leaf(5)))).to.include("must be in ascending order");
  });

  it("name exactly the numbers that are claimed and not there", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 30 })),
        fc.nat(15),
        fc.nat(15),
        (numbers, before, more) => {
          const tally = new Tally();
          for (const [position, number] of numbers.toSorted((a, b) => a - b).entries())
            tally.add(decision("svc", number, position));
          const line: CallerLine = {
            caller: "svc",
            before: { position: 0n, number: before },
            after: { position: 99n, number: before + more },
            end: "head",
            decisions: more,
          };
          const missing = tally
            .gaps([line], [])
            .flatMap((gap) =>
              gap.kind === "numbers"
                ? Array.from({ length: gap.to - gap.from + 1 }, (_, index) => gap.from + index)
                : [],
            );
          const wanted = Array.from({ length: more }, (_, index) => before + 1 + index).filter(
            (number) => !numbers.includes(number),
          );
          expect(missing).to.deep.equal(wanted);
        },
      ),
    );
  });

  it("refuse numbers that do not ascend, and more gaps than anybody reads", () => {
    const tally = new Tally();
    tally.add(decision("svc", 2, 1));
    tally.add(decision("other", 1, 2));
    expect(() => tally.add(decision("svc", 2, 3))).to.throw("svc has 2 at position 3, after 2");
    const many = new Tally();
    expect(() => {
      for (let number = 0; number <= 4 * packGapsMax; number += 1)
        many.add(decision("svc", 2 * number, number));
    }).to.throw(`gaps must be at most ${packGapsMax}`);
  });

  it("have no cell that a spreadsheet takes for a formula, and no row that is two", () => {
    const cells = [
      "=1+1",
      "+1",
      "-1",
      "@SUM(A1)",
      "\t=1",
      "\r=1",
      "\uff1d1",
      'a"b',
      "a,b",
      "a\nb",
      null,
      -0.5,
    ];
    expect(formatRow(cells)).to.equal(
      `'=1+1,'+1,'-1,'@SUM(A1),'\t=1,"'\r=1",'\uff1d1,"a""b","a,b","a\nb",,-0.5\r\n`,
    );
  });

  it("have lines however their bytes come, none too long, none cut off, all of them UTF-8", async () => {
    for (const size of [1, 2, 3, 1000]) {
      expect(await collect("one\n\nzwö lf\n", size)).to.deep.equal(["one", "", "zwö lf"]);
      expect(await rejection(collect("one\ntwo", size))).to.include("the file was cut off");
    }
    expect(await rejection(collect("x".repeat(packLineBytesMax + 1), 1 << 16))).to.include("must be at most");
    const bad = linesOf(chunked(Uint8Array.of(0xff, 0x0a), 9));
    expect(await rejection(bad.next())).to.include("must be UTF-8");
  });

  it("have times of every day of a calendar that somebody else made", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (timeMs) => {
        const text = new Date(timeMs).toISOString();
        expect(formatTime(timeMs)).to.equal(text);
        expect(parseTime(text)).to.equal(timeMs);
      }),
      { numRuns: 2000 },
    );
    const wrong = [
      "2026-02-29T00:00:00.000Z",
      "2026-13-01T00:00:00.000Z",
      "2026-01-01T24:00:00.000Z",
      "2026-01-01",
    ];
    for (const text of wrong) expect(parseTime(text)).to.equal(undefined);
    expect(() => formatTime(253_402_300_800_000)).to.throw("must be within the years 1970 to 9999");
  });

  it("take no mapping of controls that says a thing twice, or in another spelling than decisions have", () => {
    const of = (controls: unknown) => () => parseControls(JSON.stringify({ controls }));
    const filters = [{ verdict: "deny" }];
    expect(
      of([
        { id: "A", filters },
        { id: "A", filters },
      ]),
    ).to.throw("must have distinct ids");
    expect(of([{ id: "A\n", filters }])).to.throw("must be a name, on one line");
    expect(of([{ id: "A", filters: [{ target: "a/%41" }] }])).to.throw(
      "must be spelled as it is recorded: a/A",
    );
    expect(of([{ id: "A", filters: [{}] }])).to.throw("must have one of caller");
    expect(of([{ id: "A", filters: [] }])).to.throw("must be a list of 1 to 64");
  });
});
