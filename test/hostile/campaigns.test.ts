/** The campaigns of test/campaigns/modules.ts, as many runs as fit between other tests. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { runMutations } from "../campaigns/module-mutations.ts";
import { runInARow } from "../campaigns/module-runs.ts";
import { assembleFile } from "./assemble.ts";
import { openSandbox, requestOf } from "./runs.ts";

describe("valid modules", () => {
  it("end in ways that are known, damaged at random", async () => {
    await using sandbox = await openSandbox({ processes: 2 });
    const { ends, wrongs } = await runMutations(sandbox, { count: 30, seed: 11 });
    expect([wrongs, sandbox.faults]).to.deep.equal([[], []]);
    expect([...ends.values()].reduce((sum, times) => sum + times, 0)).to.equal(30);
  });
});

describe("runs in a row", () => {
  it("leave no memory, process or file descriptor behind, the killed ones among them", async () => {
    const processes = 1;
    await using sandbox = await openSandbox({ processes });
    const [fine, hostile] = await Promise.all(["read-past-end", "output-flood"].map(assembleFile));
    const requestAt = (run: number) => requestOf((run % 40 === 39 ? hostile : fine) ?? new Uint8Array());
    const { wrongs } = await runInARow(sandbox, { runs: 200, processes, requestOf: requestAt });
    expect(wrongs).to.deep.equal([]);
    expect(sandbox.gauge.restarts).to.equal(5);
  });
});
