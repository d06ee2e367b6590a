/** Which compiled modules a sandbox process keeps, and how many runs there may be. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeError } from "../../../src/errors.ts";
import { moduleBytesHeldMax, modulesHeldMax } from "../../../src/limits.ts";
import { CompiledModules } from "../../../src/modules/sandbox/compiled.ts";
import { RunCount } from "../../../src/modules/sandbox/run-count.ts";
import { errorOf } from "../record/faults.ts";

describe("the compiled modules of a process", () => {
  it("are as many as may be held, the least recently used going first", () => {
    const modules = new CompiledModules();
    for (let index = 0; index < modulesHeldMax; index += 1) modules.add(`m${index}`, 10);
    const first = modules.use("m0");
    const { dropped } = modules.add("new", 10);
    expect([first, dropped, modules.has("m0"), modules.has("m1")]).to.deep.equal([0, [1], true, false]);
  });

  it("are no more bytes than may be held, and a removed one gives its bytes back", () => {
    const modules = new CompiledModules();
    const half = moduleBytesHeldMax / 2;
    modules.add("a", half);
    modules.add("b", half);
    modules.remove("a");
    expect(modules.add("c", half).dropped).to.deep.equal([]);
    expect(modules.add("d", half).dropped).to.deep.equal([1]);
    expect(["a", "b", "c", "d"].map((key) => modules.has(key))).to.deep.equal([false, false, true, true]);
  });
});

describe("the count of runs", () => {
  it("refuses one tenant at its limit and everybody at the limit of all, and forgets runs that end", () => {
    const count = new RunCount(3, 2);
    const leave = count.enter("a");
    count.enter("a");
    expect(describeError(errorOf(() => count.enter("a")))).to.contain('2 runs of tenant "a"');
    count.enter("b");
    expect(describeError(errorOf(() => count.enter("c")))).to.contain("3 runs of all tenants");
    leave();
    count.enter("a");
    expect(errorOf(() => count.enter("b")).kind).to.equal("runsBusy");
  });
});
