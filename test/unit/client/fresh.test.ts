/** Which records may answer a question, by their positions and times. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { ForkError, ProofError } from "@sigil/client";
import { Freshness } from "../../../clients/typescript/src/verify/fresh.ts";

const treeOf = (size: bigint, root = 0) => ({
  size,
  root: new Uint8Array(32).fill(root),
  checkpoint: `of size ${size}`,
});

const askedMs = 1_700_000_000_000;

/** Of one question, answered by a record of this time in the first tree that is seen. */
const takenAt = (timeMs: number): void => {
  const fresh = new Freshness(() => askedMs);
  fresh.take(fresh.ask(), { position: 4n, timeMs }, treeOf(5n));
};

describe("the record of an answer", () => {
  it("is at most 30 s older than the first question of a connection, by the client's clock", () => {
    for (const olderMs of [-3_600_000, -1, 0, 1, 30_000]) takenAt(askedMs - olderMs);
    for (const [olderMs, seconds] of [
      [30_001, 31],
      [3_999_001, 4000],
      [askedMs, askedMs / 1000],
    ] as const)
      expect(() => takenAt(askedMs - olderMs)).to.throw(
        ProofError,
        `the answer is not proved: its record is ${seconds} s older than the question: a stored answer, or clocks that differ by more than 30 s`,
      );
  });

  it("is as old as the first attempt at a call that was repeated for long", () => {
    let nowMs = askedMs;
    const fresh = new Freshness(() => nowMs);
    const since = fresh.ask();
    nowMs += 600_000;
    fresh.take(since, { position: 4n, timeMs: askedMs }, treeOf(5n));
    const refused = () => fresh.take(fresh.ask(), { position: 5n, timeMs: askedMs }, treeOf(6n));
    expect(refused).to.throw(ProofError, "600 s older");
  });

  it("changes nothing that is known if it is too old", () => {
    const fresh = new Freshness(() => askedMs);
    expect(() => fresh.take(fresh.ask(), { position: 4n, timeMs: 0 }, treeOf(5n))).to.throw(ProofError);
    fresh.take(fresh.ask(), { position: 4n, timeMs: askedMs }, treeOf(5n));
    const before = (): void => fresh.take(fresh.ask(), { position: 4n, timeMs: askedMs }, treeOf(6n));
    expect(before).to.throw(ProofError, "the ledger had 5 records then");
  });

  it("may be as old as it is where the caller chose the idempotency key", () => {
    const fresh = new Freshness(() => askedMs);
    fresh.take(undefined, { position: 4n, timeMs: 0 }, treeOf(5n));
    fresh.take(undefined, { position: 4n, timeMs: 0 }, treeOf(6n));
    expect(() => fresh.take(undefined, { position: 4n, timeMs: 0 }, treeOf(6n, 1))).to.throw(ForkError);
  });

  it("answers one question, and is forgotten once no question under way may have it", () => {
    const taken = new Set<bigint>();
    const fresh = new Freshness(() => askedMs, taken);
    let before = fresh.ask();
    // Questions overlap all the time: there is always one under way.
    for (let position = 0n; position < 4_000n; position += 1n) {
      const since = fresh.ask();
      fresh.take(before, { position, timeMs: askedMs }, treeOf(position + 1n));
      fresh.end(before);
      const again = (): void => fresh.take(since, { position, timeMs: askedMs }, treeOf(position + 1n));
      expect(again).to.throw(ProofError, "its record answered another question");
      before = since;
    }
    expect(taken.size).to.be.below(1_100);
    fresh.end(before);
    expect(taken.size).to.equal(0);
  });
});
