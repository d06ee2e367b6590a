/** Who is next of those who wait. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { FairQueue } from "../../../src/identity/fair-queue.ts";

const filled = (names: readonly string[]): FairQueue<string, string> => {
  const queue = new FairQueue<string, string>();
  for (const name of names) queue.add(name.slice(0, 1), name);
  return queue;
};

const drained = (queue: FairQueue<string, string>): readonly string[] => {
  const taken: string[] = [];
  for (let item = queue.take(); item !== undefined; item = queue.take()) taken.push(item);
  return taken;
};

describe("a fair queue", () => {
  it("gives holders turns, and a holder's own in the order they came", () => {
    const queue = filled(["a1", "a2", "a3", "b1", "c1", "b2"]);
    expect(drained(queue)).to.deep.equal(["a1", "b1", "c1", "a2", "b2", "a3"]);
    expect(queue.isEmpty).to.equal(true);
  });

  it("puts a holder behind the others when one of its own is taken out of turn", () => {
    const queue = filled(["a1", "b1", "b2", "c1"]);
    expect(queue.takeOf("b")).to.equal("b1");
    expect([...queue.holders()]).to.deep.equal(["a", "c", "b"]);
    expect(queue.takeOf("nobody")).to.equal(undefined);
  });

  it("leaves the others where they are when one is removed", () => {
    const queue = filled(["a1", "a2", "b1", "b2"]);
    queue.remove("a", "a1");
    queue.remove("b", "nothing of b's");
    expect(queue.countOf("a")).to.equal(1);
    expect(drained(queue)).to.deep.equal(["a2", "b1", "b2"]);
  });

  it("forgets a holder of whom nothing waits", () => {
    const queue = filled(["a1", "b1"]);
    queue.remove("a", "a1");
    expect([...queue.holders()]).to.deep.equal(["b"]);
    expect(queue.clear()).to.deep.equal(["b1"]);
    expect(queue.isEmpty).to.equal(true);
    expect(queue.countOf("b")).to.equal(0);
  });

  it("lets nobody wait for more than one of each other holder's, whatever they add", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 60 }), (holders) => {
        const queue = filled(holders.map((holder, index) => `${holder}${index}`));
        const order = drained(queue).map((item) => item.slice(0, 1));
        expect(order.toSorted()).to.deep.equal(holders.toSorted());
        for (const [index, holder] of order.entries()) {
          const next = order.indexOf(holder, index + 1);
          const between = next < 0 ? [] : order.slice(index + 1, next);
          expect(new Set(between).size).to.equal(between.length);
        }
      }),
    );
  });
});
