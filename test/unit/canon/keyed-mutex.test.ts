/** A mutex by name: one at a time, first come first served, and nobody waits in a circle or for one that failed. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { KeyedMutex } from "../../../src/canon/records/keyed-mutex.ts";

describe("a mutex by name", () => {
  /** Locks names as told, each of them over a few steps of the event loop. @returns what happened, in order. */
  const play = async (asked: readonly (readonly string[])[], failing: ReadonlySet<number> = new Set()) => {
    const mutex = new KeyedMutex();
    const log: string[] = [];
    const outcomes = await Promise.allSettled(
      asked.map((names, index) =>
        mutex.runExclusive(names, async () => {
          log.push(`${index} in`);
          for (let step = 0; step < 3; step += 1) await new Promise((resolve) => setImmediate(resolve));
          log.push(`${index} out`);
          if (failing.has(index)) throw new Error(`${index} failed`);
          return index;
        }),
      ),
    );
    return { log, outcomes };
  };

  it("lets one at a time act at a name, in the order they asked", async () => {
    const { log } = await play([["a"], ["a"], ["a"]]);
    expect(log).to.deep.equal(["0 in", "0 out", "1 in", "1 out", "2 in", "2 out"]);
  });

  it("lets those at other names act meanwhile", async () => {
    const { log } = await play([["a"], ["b"], ["a"]]);
    expect(log.slice(0, 2)).to.deep.equal(["0 in", "1 in"]);
    expect(log.indexOf("2 in")).to.be.greaterThan(log.indexOf("0 out"));
  });

  it("lets nobody wait in a circle, whatever the order of the names", async () => {
    const { log } = await play([["a", "b"], ["b", "a"], ["b"], ["a"]]);
    expect(log.slice(0, 4)).to.deep.equal(["0 in", "0 out", "1 in", "1 out"]);
    expect(log).to.have.length(8);
  });

  it("goes on after one that failed, and answers each with its own outcome", async () => {
    const { outcomes } = await play([["a"], ["a"], ["a", "b"]], new Set([0, 1]));
    expect(
      outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : String(outcome.reason))),
    ).to.deep.equal(["Error: 0 failed", "Error: 1 failed", 2]);
  });
});
