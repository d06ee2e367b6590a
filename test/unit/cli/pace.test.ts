/** The line that says how far long work has come. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { Pace } from "../../../src/cli/terminal/pace.ts";

describe("the pace of long work", () => {
  const at = (...moments: readonly (readonly [ms: number, step: string, done: bigint])[]): string => {
    let nowMs = 0;
    const pace = new Pace(() => nowMs);
    let line = "";
    for (const [ms, step, done] of moments) {
      nowMs = ms;
      line = pace.describe({ step, done, total: 1000n });
    }
    return line;
  };

  it("has no rate before there is one", () => {
    expect(at([5, "records", 0n])).to.equal("records: 0 of 1000 (0 %)");
    expect(at([5, "records", 0n], [900, "records", 100n])).to.equal("records: 100 of 1000 (10 %)");
    expect(at([5, "records", 7n], [9000, "records", 7n])).to.equal("records: 7 of 1000 (0 %)");
  });

  it("says the rate, and how long the rest takes at it", () => {
    expect(at([0, "records", 0n], [2000, "records", 100n])).to.equal(
      "records: 100 of 1000 (10 %), 50 a second, 18 s left",
    );
    expect(at([0, "records", 0n], [60_000, "records", 100n])).to.equal(
      "records: 100 of 1000 (10 %), 2 a second, 9 min left",
    );
    expect(at([0, "records", 0n], [3_600_000, "records", 100n])).to.equal(
      "records: 100 of 1000 (10 %), 0 a second, 9 h 0 min left",
    );
  });

  it("counts from where the work went on, and anew with each step", () => {
    expect(at([0, "copy", 500n], [1000, "copy", 600n])).to.include(", 100 a second, 4 s left");
    expect(at([0, "copy", 0n], [9000, "copy", 1000n], [9500, "records", 10n])).to.equal(
      "records: 10 of 1000 (1 %)",
    );
    expect(at([0, "copy", 0n], [2000, "copy", 1000n])).to.equal("copy: 1000 of 1000 (100 %), 500 a second");
  });
});
