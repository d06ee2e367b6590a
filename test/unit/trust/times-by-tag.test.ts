/** Times by tag: against a plain map. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { createTimesByTag } from "../../../src/trust/times-by-tag.ts";

describe("times by tag", () => {
  it("gives each tag the newest of its own times, oldest first, as a map of lists does", () => {
    const tags = fc.constantFrom(0, 1, 2, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1);
    const added = fc.array(fc.tuple(tags, fc.nat(100)), { maxLength: 60 });
    fc.assert(
      fc.property(added, fc.integer({ min: 1, max: 10 }), (entries, limit) => {
        const times = createTimesByTag();
        const naive = new Map<number, number[]>();
        for (const [tag, gapMs] of entries) {
          const known = naive.get(tag) ?? [];
          // Newest first, as the index is read.
          const timeMs = (known.at(-1) ?? 1_700_000_000_000) - gapMs;
          naive.set(tag, [...known, timeMs]);
          times.add(tag, timeMs);
        }
        for (const tag of [0, 1, 2, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1]) {
          expect(times.of(tag, limit)).to.deep.equal((naive.get(tag) ?? []).slice(0, limit).toReversed());
        }
      }),
    );
  });
});
