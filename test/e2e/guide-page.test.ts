/**
 * docs/guides/write-a-module.md works as printed, from the built file to the record of its run. What it builds in Rust
 * and Go is guide-module.test.ts's.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, serving, type Serving } from "./command.ts";
import { expectAsPrinted, printedOn } from "./printed.ts";

const isBuiltElsewhere = /\b(?:cargo|rustc|go) /;

const steps = printedOn("docs/guides/write-a-module.md").filter(
  ({ script }) => !isBuiltElsewhere.test(script),
);

describe("the guide to modules", function () {
  this.slow(10_000);
  let home = "";
  let server: Serving | undefined;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "sigil-guide-"));
    server = await serving(["dev", ...freePorts], { cwd: home });
  });

  after(async () => {
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it("has steps from the source to the record", () => {
    expect(steps.length).to.be.at.least(7);
  });

  for (const step of steps) {
    it(`works as printed at line ${step.line}`, () =>
      expectAsPrinted(step, {
        target: server?.target ?? "",
        home,
        replaced: [[/build\/modules/g, join(home, "modules")]],
      }));
  }
});
