/** The tour goes as it tells, and says so with its exit code. */
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect } from "chai";
import { describe, it } from "mocha";
import { run } from "../../scripts/run.ts";

const leftovers = (): readonly string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith("sigil-tour-"));

/**
 * Of a shell's children, user and system, as its `times` prints them in its last line. A clock would tell how busy the
 * machine is.
 */
const processorSeconds = (output: string): number =>
  [...(output.trim().split("\n").at(-1) ?? "").matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );

describe("the tour", function () {
  this.slow(20_000);

  it("decides and verifies every request, refuses the tampered record by name and cleans up", async () => {
    const before = leftovers();
    const tour = "node examples/tour.ts; code=$?; times; exit $code";
    const { exitCode, output } = await run(["sh", "-c", tour]);
    expect(exitCode, output).to.equal(0);
    expect(output).to.match(/(\d{3,}) of \1 verified/);
    expect(output).to.match(/still needs 1 approval/);
    expect(output).to.match(/committed, attested by witness-1 and witness-2 \(2 of 3\)/);
    expect(output).to.match(/the first answer, \S+, still verifies/);
    expect(output).to.match(
      /operator: Ask ada@\S+, not bob@\S+\s+\{"text":"Ask \[e-mail\], not \[e-mail\]\.","redacted":2\}/,
    );
    expect(output).to.match(/guest: +PERMISSION_DENIED/);
    expect(output).to.match(/(\d{3}) records relayed [^]*decisions +highest score\nread +allow +\d+/);
    expect(output).to.match(/Dropped, and filled again from the files: identical, digest [0-9a-f]{12}/);
    expect(output).to.match(
      /changed in a copy of the files:\n +the record at position \d+ fails inclusion: /,
    );
    expect(output).to.match(/GetFrozenChain \S+: DATA_LOSS/);
    expect(output).to.match(/the first bad position is \d+/);
    expect(output).to.match(
      /\d+ ALLOW, \d+ DENY, \d+ REVIEW\), (\d+) verified, (\d+) projected twice, 2 tampered with, 2 refused/,
    );
    expect(leftovers().filter((name) => !before.includes(name))).to.deep.equal([]);
    expect(processorSeconds(output)).to.be.within(0.1, 30);
  });
});
