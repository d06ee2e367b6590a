/** Turns of the event loop in which calls begin. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { callsPerTurn } from "../../../src/record/limits.ts";
import { Turns } from "../../../src/rpc/turns.ts";

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Asks for `calls` turns at once and notes which began. */
const ask = (turns: Turns, calls: number, begun: number[] = []): number[] => {
  const already = begun.length;
  for (let index = 0; index < calls; index += 1) {
    const turn = turns.next();
    if (turn === undefined) begun.push(already + index);
    else void turn.then(() => begun.push(already + index));
  }
  return begun;
};

const firstOf = (calls: number): readonly number[] => Array.from({ length: calls }, (_, index) => index);

describe("turns", () => {
  it("begins so many calls at once, and the others in their order, so many a turn", async () => {
    const turns = new Turns();
    const begun = ask(turns, 3 * callsPerTurn - 1);
    for (const turn of [1, 2, 3]) {
      expect(begun).to.deep.equal(firstOf(Math.min(turn * callsPerTurn, 3 * callsPerTurn - 1)));
      await nextTurn();
    }
  });

  it("lets nobody overtake those who wait", async () => {
    const turns = new Turns();
    const begun = ask(turns, callsPerTurn + 2);
    await nextTurn();
    expect(begun).to.have.lengthOf(callsPerTurn + 2);
    // What the two left of this turn is there to be had; what comes after that waits.
    ask(turns, callsPerTurn, begun);
    expect(begun).to.have.lengthOf(2 * callsPerTurn);
    await nextTurn();
    expect(begun).to.deep.equal(firstOf(2 * callsPerTurn + 2));
  });

  it("begins at once again when it was quiet", async () => {
    const turns = new Turns();
    ask(turns, 2 * callsPerTurn);
    for (const _ of [1, 2, 3]) await nextTurn();
    expect(ask(turns, callsPerTurn)).to.have.lengthOf(callsPerTurn);
  });
});
