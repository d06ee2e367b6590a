/**
 * The weighted semaphore: nobody holds more than a share, nobody is passed over for ever, whoever leaves leaves
 * nothing.
 */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { ByteBudget, type Permit } from "../../../src/rpc/bounds/byte-budget.ts";

const tooMany = new Error("too many wait");

const budgetOf = (bytesMax: number, bytesPerHolderMax: number, waitersMax = 1000): ByteBudget =>
  new ByteBudget({ bytesMax, bytesPerHolderMax, waitersMax, refuse: () => tooMany });

const never = new AbortController().signal;

/** Everything that has resolved by now has said so. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a byte budget", () => {
  it("never gives more than a share or the whole, and serves everybody, each holder's own in order", async () => {
    const asked = fc.array(
      fc.record({ holder: fc.constantFrom("a", "b", "c"), bytes: fc.integer({ min: 1, max: 60 }) }),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(asked, fc.infiniteStream(fc.nat()), async (calls, picks) => {
        const budget = budgetOf(100, 50);
        const held: { readonly holder: string; readonly permit: Permit }[] = [];
        const served: { readonly holder: string; readonly index: number }[] = [];
        for (const [index, { holder, bytes }] of calls.entries()) {
          void Promise.resolve(budget.take(holder, bytes, never)).then((permit) => {
            held.push({ holder, permit });
            served.push({ holder, index });
          });
        }
        for (let steps = 0; served.length < calls.length || held.length > 0; steps += 1) {
          await settle();
          expect(steps).to.be.at.most(calls.length * 2);
          const used = held.reduce((sum, { permit }) => sum + permit.bytes, 0);
          expect(budget.bytesUsed).to.equal(used).and.at.most(100);
          for (const name of ["a", "b", "c"]) {
            const own = held.filter(({ holder }) => holder === name);
            expect(own.reduce((sum, { permit }) => sum + permit.bytes, 0)).to.be.at.most(50);
          }
          const pick = Number(picks.next().value) % Math.max(1, held.length);
          held.splice(pick, 1)[0]?.permit.release();
        }
        for (const name of ["a", "b", "c"]) {
          const order = served.filter(({ holder }) => holder === name).map(({ index }) => index);
          expect(order).to.deep.equal(order.toSorted((a, b) => a - b));
        }
        expect([budget.bytesUsed, budget.waiting]).to.deep.equal([0, 0]);
      }),
      { numRuns: 200 },
    );
  });

  it("passes over a holder whose own share is full, however long its line", () => {
    const budget = budgetOf(100, 50);
    expect(budget.tryTake("greedy", 50)).not.to.equal(undefined);
    for (let waiting = 0; waiting < 10; waiting += 1) void budget.take("greedy", 50, never);
    expect(budget.tryTake("other", 50)).not.to.equal(undefined);
  });

  it("lets nobody overtake one who waits for room in the whole", async () => {
    const budget = budgetOf(100, 80);
    const first = budget.tryTake("a", 60);
    const large = Promise.resolve(budget.take("b", 80, never));
    expect(budget.tryTake("c", 10), "there would be room for ten").to.equal(undefined);
    first?.release();
    expect((await large).bytes).to.equal(80);
    expect(budget.tryTake("c", 10)).not.to.equal(undefined);
  });

  it("gives the place of one who leaves to the next, and refuses one too many at once", async () => {
    const budget = budgetOf(100, 50, 2);
    const held = budget.tryTake("a", 50);
    const leaving = new AbortController();
    const left = Promise.resolve(budget.take("a", 50, leaving.signal)).catch((error: unknown) => error);
    const stays = Promise.resolve(budget.take("a", 50, never));
    expect(() => budget.take("a", 50, never)).to.throw(tooMany);
    const reason = new Error("left");
    leaving.abort(reason);
    expect(await left).to.equal(reason);
    held?.release();
    expect((await stays).bytes).to.equal(50);
    expect(budget.waiting).to.equal(0);
  });

  it("serves who stood behind one that leaves, though nobody gave anything back", async () => {
    const budget = budgetOf(100, 100);
    const held = budget.tryTake("a", 60);
    const leaving = new AbortController();
    const left = Promise.resolve(budget.take("b", 60, leaving.signal)).catch((error: unknown) => error);
    const behind = Promise.resolve(budget.take("c", 10, never));
    expect([budget.waiting, budget.isFull]).to.deep.equal([2, true]);
    leaving.abort(new Error("left"));
    expect([budget.waiting, budget.isFull, budget.bytesUsed]).to.deep.equal([0, false, 70]);
    expect((await behind).bytes).to.equal(10);
    expect(await left).to.be.instanceOf(Error);
    held?.release();
  });

  it("gives back what a permit shrinks by, and once what is given back twice", () => {
    const budget = budgetOf(100, 50);
    const permit = budget.tryTake("a", 50);
    permit?.shrink(10);
    expect(budget.bytesUsed).to.equal(10);
    permit?.shrink(40);
    permit?.release();
    permit?.release();
    expect(budget.bytesUsed).to.equal(0);
  });
});
