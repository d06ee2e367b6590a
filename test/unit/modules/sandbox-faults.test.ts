/** A sandbox process that cannot be started is tried again and again; the log hears of it a few times. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { createSandbox } from "../../../src/modules/sandbox/pool.ts";

describe("a sandbox whose processes do not start", () => {
  it("goes on trying, and says the same no more than it takes to give up hope", async () => {
    const faults: string[] = [];
    let heard = Promise.withResolvers<void>();
    const sandbox = await createSandbox({
      processes: 1,
      runsMax: 1,
      // It is there and can be executed, and is no shell: it ends at once, each time with the same words.
      launch: { shell: "/bin/false" },
      onFault: (cause) => {
        faults.push(String(cause));
        heard.resolve();
        heard = Promise.withResolvers<void>();
      },
    });
    while (faults.length < 3) await heard.promise;
    // Two further attempts, by the back-off's own clock: 200 and 400 ms after the third.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(new Set(faults).size).to.equal(1);
    expect(faults).to.have.lengthOf(3);
    await sandbox[Symbol.asyncDispose]();
  });
});
