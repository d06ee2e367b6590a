/** The tour goes as it tells, and says so with its exit code. */
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect } from "chai";
import { describe, it } from "mocha";
import { run } from "../../scripts/run.ts";

const leftovers = (): readonly string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith("sigil-tour-"));

describe("the tour", function () {
  this.timeout(60_000);
  this.slow(20_000);

  it("decides and verifies every request, refuses the tampered record by name and cleans up", async () => {
    const before = leftovers();
    const { exitCode, output, durationMs } = await run(["node", "examples/tour.ts"]);
    expect(exitCode, output).to.equal(0);
    expect(output).to.match(/(\d{3,}) of \1 verified/);
    expect(output).to.match(/still needs 1 approval/);
    expect(output).to.match(/committed, attested by witness-1 and witness-2 \(2 of 3\)/);
    expect(output).to.match(/the first answer, \S+, still verifies/);
    expect(output).to.match(
      /operator: Ask ada@\S+, not bob@\S+\s+\{"text":"Ask \[e-mail\], not \[e-mail\]\.","redacted":2\}/,
    );
    expect(output).to.match(/guest: +PERMISSION_DENIED/);
    expect(output).to.match(/GetFrozenChain \S+: DATA_LOSS/);
    expect(output).to.match(/the first bad position is \d+/);
    expect(output).to.match(/\d+ ALLOW, \d+ DENY, \d+ REVIEW/);
    expect(leftovers().filter((name) => !before.includes(name))).to.deep.equal([]);
    expect(durationMs).to.be.below(30_000);
  });
});
