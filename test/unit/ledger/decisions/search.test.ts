/** Whatever is asked, the index finds what looking at everything finds, in order, from wherever it goes on. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import type { DecisionIndex } from "../../../../src/ledger/decisions/decision-index.ts";
import type { DecisionWalk } from "../../../../src/ledger/decisions/search.ts";
import type { DecisionFilter } from "../../../../src/ledger/decisions/terms.ts";
import { openMemoryStore } from "../../../../src/storage/memory.ts";
import type { Store } from "../../../../src/storage/store.ts";
import { asked, commit, expected, makeDecisions, openIndex, seeded, searchIn, walkAll } from "./world.ts";

const made = makeDecisions(19_000);
/** The first whose clock was minutes behind that of the one before it. */
const steppedBack = made.findIndex(({ ts }, index) => ts < (made[index - 1]?.ts ?? 0) - 100_000);

describe("the index of decisions", () => {
  let store: Store;
  let index: DecisionIndex;
  before(async () => {
    store = await openMemoryStore();
    ({ index } = openIndex(store));
    // Commits of all lengths, so that values of the tail lie across the ends of segments.
    for (let from = 0, step = 1; from < made.length; from += step, step = (step * 7 + 3) % 400 || 1) {
      await commit(index, store, made.slice(from, from + step));
    }
    await index.settled();
  });

  it("is of decisions whose clock stepped back", () => expect(steppedBack).to.be.greaterThan(1024));

  it("has segments of two levels and a tail", async () => {
    const { segments, tailLength } = await index.view("acme");
    expect(segments.map(({ level }) => level)).to.include.members([0, 1]);
    expect(tailLength).to.be.greaterThan(0);
  });

  const filters: readonly (readonly [name: string, filter: DecisionFilter])[] = [
    ["nothing", {}],
    ["a rare principal", { principal: "rare-agent" }],
    ["a principal as subject or caller", { principal: "gateway" }],
    ["an action", { action: "write" }],
    ["a common verdict", { verdict: "deny" }],
    ["a reason", { reason: "UNKNOWN_ACTION" }],
    ["a session", { session: "s-7" }],
    ["a target", { targetPrefix: "user/notes-1/77" }],
    ["a beginning of targets", { targetPrefix: "user/notes-2" }],
    ["what no decision has", { principal: "nobody" }],
    ["a common verdict with a rare target", { verdict: "allow", targetPrefix: "user/notes-0/13" }],
    [
      "two that are common, with few in common",
      { reason: "UNKNOWN_ACTION", verdict: "allow", action: "write" },
    ],
    ["everything at once", { principal: "agent-3", action: "read", verdict: "allow", session: "s-9" }],
    ["a time", { fromMs: (made[9000]?.ts ?? 0) - 5, untilMs: (made[9400]?.ts ?? 0) + 5 }],
    ["the time around a clock that stepped back", { fromMs: made[steppedBack - 1]?.ts ?? 0 }],
    [
      "what was made before a time that had passed once already",
      { untilMs: (made[steppedBack]?.ts ?? 0) + 1 },
    ],
    ["a time before everything", { untilMs: 5 }],
    ["a time and an action", { action: "write", fromMs: made[100]?.ts ?? 0, untilMs: made[18_950]?.ts ?? 0 }],
  ];
  for (const [name, filter] of filters) {
    for (const order of ["newestFirst", "oldestFirst"] as const) {
      it(`finds ${name}, ${order}, in one walk and in many`, async () => {
        const walk = asked({ filter, order });
        const right = expected(made, walk);
        expect(await walkAll(index, store, walk)).to.deep.equal(right);
        expect(await walkAll(index, store, walk, 1)).to.deep.equal(right);
      });
    }
  }

  it("sees a ledger of the walk's size, from the position asked for", async () => {
    const random = seeded(3);
    const last = made.at(-1)?.position ?? 0;
    for (let times = 0; times < 40; times += 1) {
      const [, filter] = filters[random(filters.length)] ?? ["", {}];
      const walk: DecisionWalk = asked({
        filter,
        order: random(2) === 0 ? "newestFirst" : "oldestFirst",
        size: BigInt(random(last + 100)),
        from: BigInt(random(last)),
        ...(random(2) === 0 ? {} : { start: BigInt(random(last)) }),
      });
      expect(await walkAll(index, store, walk), JSON.stringify(filter)).to.deep.equal(expected(made, walk));
    }
  });

  it("finds a decision by its id", async () => {
    for (const at of [0, 1023, 1024, 16_383, 16_384, 18_999]) {
      const found: bigint[] = [];
      for await (const position of (await searchIn(index, store)).positionsOf(`d-${at}`))
        found.push(position);
      expect(found).to.deep.equal([BigInt(made[at]?.position ?? 0)]);
    }
  });

  it("tells who was decided about, newest first, without a record", async () => {
    const rows: number[] = [];
    const term = index.principalTerm("acme", "rare-agent");
    for await (const some of (await searchIn(index, store)).newestFirst()) {
      rows.push(...some.filter(({ subject }) => subject === term).map(({ position }) => position));
    }
    const right = made.filter(({ subject }) => subject === "rare-agent").map(({ position }) => position);
    expect(rows).to.deep.equal(right.toReversed());
  });

  it("reads a few values for a rare one among many, whatever it is joined with", async () => {
    let reads = 0;
    const counting: Store = {
      ...store,
      get: (key, options) => {
        reads += 1;
        return store.get(key, options);
      },
      snapshot: () => store.snapshot(),
    };
    for (const filter of [
      { principal: "rare-agent" },
      { principal: "rare-agent", verdict: "deny", action: "read" },
    ]) {
      reads = 0;
      await walkAll(index, counting, asked({ filter }));
      // Two segments of each level at most, a value or two of each term in each, a value of rows a match.
      expect(reads, JSON.stringify(filter)).to.be.lessThan(90);
    }
  });
});
